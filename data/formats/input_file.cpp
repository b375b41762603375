// pread with retries, and the small cache of open shards.
#include "data/formats/input_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <list>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "core/base/log.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

bool may_pass(int error) {
  return error == EIO || error == ETIMEDOUT || error == ESTALE || error == EAGAIN || error == EHOSTDOWN;
}

/// Calls `attempt` (>= 0, or -1 with errno) until it succeeds or an error looks final; waits 0.1, 0.5 and 2.5 s
/// between.
template <class Attempt>
ssize_t with_retries(const std::string& path, Attempt&& attempt) {
  constexpr std::chrono::milliseconds kWaits[] = {std::chrono::milliseconds(100), std::chrono::milliseconds(500),
                                                  std::chrono::milliseconds(2500)};
  std::size_t tries = 0;
  while (true) {
    const ssize_t result = attempt();
    const int error = errno;
    if (result >= 0) return result;
    if (error == EINTR) continue;
    if (!may_pass(error) || tries == std::size(kWaits)) {
      errno = error;
      return -1;
    }
    if (tries == 0) log_warning("waiting for data: " + printable(path) + ": " + std::strerror(error));
    std::this_thread::sleep_for(kWaits[tries++]);
  }
}

}  // namespace

void check_file_limit(const std::string& path, int error_number) {
  if (error_number != EMFILE && error_number != ENFILE) return;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  throw StorageError("cannot open " + printable(path) + ": " + std::strerror(error_number) + "; the limit is " +
                     std::to_string(limit.rlim_cur) + " open files, raise it with ulimit -n");
}

InputFile::InputFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: a path out of a table may name a pipe, and opening one would wait for its writer.
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  descriptor_ = static_cast<int>(with_retries(path, [&] { return ::open(path.c_str(), kFlags); }));
  if (descriptor_ < 0) {
    const int error = errno;
    check_file_limit(path, error);
    throw DataError("cannot open " + printable(path) + ": " + std::strerror(error));
  }
  struct stat info {};
  if (fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor_);
    throw DataError(printable(path) + " is no regular file");
  }
  size_ = info.st_size;
  modified_ = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

std::size_t InputFile::read_at(std::int64_t offset, std::span<unsigned char> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto n = with_retries(path_, [&]() -> ssize_t {
      if (const auto order = fault_point(FaultPoint::kDataRead, FaultServes::kDisk)) {
        errno = order.error_number();
        return -1;
      }
      return ::pread(descriptor_, out.data() + done, out.size() - done, offset + static_cast<std::int64_t>(done));
    });
    if (n < 0) {
      throw DataError("reading " + printable(path_) + " at offset " + std::to_string(offset) + ": " +
                      std::strerror(errno));
    }
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::string InputFile::read_all(std::int64_t limit) const {
  if (size_ > limit) {
    throw DataError(printable(path_) + " has " + std::to_string(size_) + " bytes; at most " + std::to_string(limit) +
                    " are read");
  }
  std::string text(static_cast<std::size_t>(size_), '\0');
  text.resize(read_at(0, {reinterpret_cast<unsigned char*>(text.data()), text.size()}));
  return text;
}

struct OpenFiles::Impl {
  using Entry = std::pair<std::string, std::shared_ptr<const InputFile>>;
  std::size_t capacity;
  std::mutex mutex;
  std::list<Entry> recent;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_path;
};

OpenFiles::OpenFiles(std::size_t capacity) : impl_(std::make_unique<Impl>()) {
  impl_->capacity = std::max<std::size_t>(capacity, 1);
}

OpenFiles::~OpenFiles() = default;

std::shared_ptr<const InputFile> OpenFiles::open(const std::string& path) {
  auto& cache = *impl_;
  {
    const std::lock_guard lock(cache.mutex);
    if (const auto found = cache.by_path.find(path); found != cache.by_path.end()) {
      cache.recent.splice(cache.recent.begin(), cache.recent, found->second);
      return found->second->second;
    }
  }
  auto file = std::make_shared<const InputFile>(path);  // outside the lock: opening may wait for a network
  const std::lock_guard lock(cache.mutex);
  if (const auto found = cache.by_path.find(path); found != cache.by_path.end()) return found->second->second;
  cache.recent.emplace_front(path, file);
  cache.by_path[path] = cache.recent.begin();
  if (cache.recent.size() > cache.capacity) {
    cache.by_path.erase(cache.recent.back().first);
    cache.recent.pop_back();
  }
  return file;
}

std::size_t open_file_budget() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 16;
  return std::clamp<std::size_t>(static_cast<std::size_t>(limit.rlim_cur) / 8, 4, 256);
}

}  // namespace triptych

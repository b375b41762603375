// Appending with plain pwrite at the known length.
#include "core/train/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace triptych {

AppendFile::AppendFile(std::filesystem::path path, std::int64_t length)
    : path_(std::move(path)), file_(open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) {
  if (file_.get() < 0) throw storage_error("cannot open", path_, errno);
  struct stat status = {};
  if (fstat(file_.get(), &status) != 0) throw storage_error("cannot look at", path_, errno);
  length_ = std::min<std::int64_t>(length, status.st_size);
  if (ftruncate(file_.get(), length_) != 0) throw storage_error("cannot cut back", path_, errno);
}

void AppendFile::append(std::string_view bytes) {
  constexpr std::size_t kMostWaiting = std::size_t{64} << 20;
  waiting_ += bytes;
  const int error = write_waiting();
  if (waiting_.size() > kMostWaiting) throw storage_error("cannot append to", path_, error, waiting_.size());
}

void AppendFile::flush() {
  const int error = write_waiting();
  if (!waiting_.empty()) throw storage_error("cannot append to", path_, error, waiting_.size());
}

int AppendFile::write_waiting() {
  std::size_t done = 0;
  int error = 0;
  while (done < waiting_.size() && error == 0) {
    const auto written = pwrite(file_.get(), waiting_.data() + done, waiting_.size() - done, length_);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      error = written < 0 ? errno : ENOSPC;
    } else {
      done += static_cast<std::size_t>(written);
      length_ += written;
    }
  }
  waiting_.erase(0, done);
  return error;
}

}  // namespace triptych

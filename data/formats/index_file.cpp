// Index files are mapped: their pages are shared by all ranks of a machine and need no reading ahead.
#include "data/formats/index_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "data/formats/printable.h"

namespace triptych {

std::string index_path(const std::string& shard_path, const std::string& index_dir, const std::string& ending) {
  if (index_dir.empty()) return shard_path + ending;
  const std::filesystem::path shard(shard_path);
  std::error_code ignored;
  auto absolute = std::filesystem::canonical(shard, ignored);
  if (absolute.empty()) absolute = std::filesystem::absolute(shard);
  const auto name = shard.filename().string() + "-" + hash_text(xxh64(absolute.string())) + ending;
  return (std::filesystem::path(index_dir) / name).string();
}

bool is_own_file(const std::string& path) {
  const auto name = std::filesystem::path(path).filename().string();
  constexpr const char* kEndings[] = {".tidx", ".unpacked", ".lineidx", ".phrases", ".part", ".tar.tmp"};
  const auto ends = [&](const char* ending) { return name.ends_with(ending); };
  return std::any_of(std::begin(kEndings), std::end(kEndings), ends) || name.find(".tmp-") != std::string::npos;
}

std::optional<MappedFile> map_index_file(const std::string& path, std::int64_t shard_modified) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) check_file_limit(path, errno);  // not an index that is absent
  struct stat info {};
  if (file.get() < 0 || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return {};
  if (info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec < shard_modified) return {};
  const auto size = static_cast<std::size_t>(info.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED && errno == ENOMEM) {
    throw StorageError("cannot map " + printable(path) +
                       ": this process has no mappings left (one is used for each shard); raise vm.max_map_count by "
                       "sysctl, or pack the corpus into fewer shards");
  }
  if (address == MAP_FAILED) return {};
  std::shared_ptr<const void> owner(address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return MappedFile{{static_cast<const unsigned char*>(address), size}, std::move(owner)};
}

std::string write_index_file(const std::string& path, std::span<const unsigned char> bytes) {
  try {
    const auto folder = std::filesystem::path(path).parent_path();
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
    if (error) return "the folder " + folder.string() + " cannot be made: " + error.message();
    write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } catch (const StorageError& error) {
    check_file_limit(path, error.error_number());  // no fault of the folder, so the callers must not say that it is
    return error.what();
  }
  return {};
}

OpenedIndex open_index(const InputFile& shard, const std::string& index_dir) {
  const auto hash = shard_content_hash(shard);
  const auto path = index_path(shard.path(), index_dir);
  return open_index_file<ShardIndex>(
      shard, path, [&](auto bytes, auto owner) { return ShardIndex::view(bytes, owner, path, shard.size(), hash); },
      [&] { return ShardIndex::build(shard); });
}

void IndexNotes::report(const std::string& corpus, const std::string& index_dir) const {
  const auto count = std::count(built_.begin(), built_.end(), 1);
  if (count > 0) {
    log_info("corpus " + corpus + ": indexed " + std::to_string(count) + " of " + std::to_string(built_.size()) +
             " shards");
  }
  const auto failed =
      std::find_if(write_errors_.begin(), write_errors_.end(), [](const auto& error) { return !error.empty(); });
  if (failed == write_errors_.end()) return;
  if (!index_dir.empty()) throw ConfigError("index_dir: " + *failed);
  log_info("corpus " + corpus + ": the index stays in memory and is built again at every start: " + *failed +
           "; name a folder that can be written in index_dir");
}

}  // namespace triptych

// Index files are mapped: their pages are shared by all ranks of a machine and need no reading ahead. They are only
// ever replaced by renaming, so a mapping never shrinks under its reader.
#include "data/formats/index_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

std::optional<ShardIndex> map_index(const std::string& path, const InputFile& shard, std::uint64_t shard_hash) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (file.get() < 0 || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return {};
  const auto size = static_cast<std::size_t>(info.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED && errno == ENOMEM) {
    throw StorageError("cannot map " + printable(path) +
                       ": this process has no mappings left (one is used for each "
                       "shard); raise vm.max_map_count by sysctl, or pack the corpus into fewer shards");
  }
  if (address == MAP_FAILED) return {};
  const std::shared_ptr<const void> owner(address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return ShardIndex::view({static_cast<const unsigned char*>(address), size}, owner, path, shard.size(), shard_hash);
}

}  // namespace

std::string index_path(const std::string& shard_path, const std::string& index_dir) {
  if (index_dir.empty()) return shard_path + ".tidx";
  const std::filesystem::path shard(shard_path);
  std::error_code ignored;
  auto absolute = std::filesystem::canonical(shard, ignored);
  if (absolute.empty()) absolute = std::filesystem::absolute(shard);
  const auto name = shard.filename().string() + "-" + hash_text(xxh64(absolute.string())) + ".tidx";
  return (std::filesystem::path(index_dir) / name).string();
}

OpenedIndex open_index(const InputFile& shard, const std::string& index_dir) {
  const auto path = index_path(shard.path(), index_dir);
  if (auto index = map_index(path, shard, shard_content_hash(shard))) return {std::move(*index), false, {}};
  OpenedIndex opened{ShardIndex::build(shard), true, {}};
  try {
    if (!index_dir.empty()) std::filesystem::create_directories(index_dir);
    const auto bytes = opened.index.bytes();
    write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } catch (const std::exception& error) {
    opened.write_error = error.what();
  }
  return opened;
}

}  // namespace triptych

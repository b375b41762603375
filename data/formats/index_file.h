// The sidecar of a shard: `<shard>.tidx` beside it, or in a folder of its own when shards lie on a read-only mount.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/base/hash.h"
#include "data/formats/input_file.h"
#include "data/formats/shard_index.h"

namespace triptych {

/// Where the index of a shard is kept: beside the shard, or in `index_dir` as NAME-HASH.tidx, where the hash of the
/// shard's absolute path keeps shards of one name apart.
std::string index_path(const std::string& shard_path, const std::string& index_dir,
                       const std::string& ending = ".tidx");

/// True for names of files that the program itself writes beside shards: no wildcard means them.
bool is_own_file(const std::string& path);

template <class Index>
struct Opened {
  Index index;
  bool built = false;       ///< false: the index file was sound and fits
  std::string write_error;  ///< not empty: it was built but could not be written
};
using OpenedIndex = Opened<ShardIndex>;

/// Maps the index file if it fits the shard, builds and writes it (atomically) otherwise. Throws DataError as
/// ShardIndex::build does.
OpenedIndex open_index(const InputFile& shard, const std::string& index_dir);

/// A whole file, mapped: index files are only ever replaced by renaming, so a mapping never shrinks under its reader.
struct MappedFile {
  std::span<const unsigned char> bytes;
  std::shared_ptr<const void> owner;
};
/// Nothing when there is no such file, it is empty, or it was last written before the file it describes was
/// (`shard_modified`, ns): an edit that keeps the size is found by that.
std::optional<MappedFile> map_index_file(const std::string& path, std::int64_t shard_modified);

/// The length of a part of an index file: filled up to 8 bytes, so that the next part is aligned.
constexpr std::uint64_t padded8(std::uint64_t n) {
  return (n + 7) / 8 * 8;
}

/// xxh64 of an index file that begins with a Header, whose `checksum` counts as 0.
template <class Header>
std::uint64_t index_checksum(std::span<const unsigned char> file) {
  Header header;
  std::memcpy(&header, file.data(), sizeof(header));
  header.checksum = 0;
  const auto body = file.subspan(sizeof(header));
  return Xxh64().add(&header, sizeof(header)).add(body.data(), body.size()).value();
}

/// Writes an index atomically; returns what went wrong, or nothing. Throws StorageError: no file descriptors left.
std::string write_index_file(const std::string& path, std::span<const unsigned char> bytes);

/// The same for an index of any kind: view(bytes, owner) gives one or nothing, build() makes one.
template <class Index, class View, class Build>
Opened<Index> open_index_file(const InputFile& shard, const std::string& path, View&& view, Build&& build) {
  if (const auto mapped = map_index_file(path, shard.modified())) {
    if (std::optional<Index> index = view(mapped->bytes, mapped->owner)) return {std::move(*index), false, {}};
  }
  Opened<Index> opened{build(), true, {}};
  opened.write_error = write_index_file(path, opened.index.bytes());
  return opened;
}

/// How opening the shards of a corpus went, by shard: what the log says, and the error of an index_dir that cannot be
/// written.
class IndexNotes {
 public:
  explicit IndexNotes(std::size_t shards) : built_(shards), write_errors_(shards) {}
  template <class Index>
  void set(std::size_t shard, const Opened<Index>& opened) {
    if (opened.built) built_[shard] = 1;
    if (!opened.write_error.empty()) write_errors_[shard] = opened.write_error;
  }
  /// Throws ConfigError when `index_dir` was named and an index could not be written there.
  void report(const std::string& corpus, const std::string& index_dir) const;

 private:
  std::vector<char> built_;
  std::vector<std::string> write_errors_;
};

}  // namespace triptych

// Where every record of one tar shard lies: packed arrays, as they stand in the index file, read in place.
//
// A record is the members of one shard whose path is equal up to the first dot of the base name (webdataset's rule),
// wherever in the shard they stand. Two members of one extension make it unusable; a lost header is a record of its own
// without a key, so that every damage is met, reported and counted once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/input_file.h"
#include "data/formats/tar_scan.h"

namespace triptych {

/// 24 bytes in memory and in the file; a closing entry holds the ends of the last record.
struct RecordEntry {
  std::uint64_t offset;        ///< of the first member's header
  std::uint32_t first_member;  ///< into members
  std::uint32_t key_begin;     ///< into the key bytes
  std::uint16_t damage;        ///< Damage of the whole record
  std::uint16_t unused[3];
};
struct MemberEntry {
  std::uint64_t data_offset;
  std::uint32_t size;
  std::uint32_t header_hash;
  std::uint16_t extension;  ///< into extensions
  std::uint16_t damage;
  std::uint32_t unused;
};

class ShardIndex {
 public:
  /// Reads all headers of the shard. Throws DataError: unreadable, or no tar archive (a compressed one is named so).
  static ShardIndex build(const InputFile& shard);
  /// The bytes of an index file, which `owner` keeps alive (8-byte aligned). Nothing when they are not an index of this
  /// version, damaged, or of another shard than the one with this size and content hash.
  static std::optional<ShardIndex> view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                        std::int64_t shard_size, std::uint64_t shard_hash);

  std::int64_t size() const { return static_cast<std::int64_t>(records_.size()) - 1; }
  const RecordEntry& record(std::int64_t i) const { return records_[static_cast<std::size_t>(i)]; }
  std::string_view key(std::int64_t i) const;
  std::span<const MemberEntry> members(std::int64_t i) const;
  /// Extensions by number, lower case, without the first dot: "jpg", "seg.png".
  const std::vector<std::string>& extensions() const { return extensions_; }
  std::int64_t shard_size() const;
  /// Hash of everything in the index, the shard's size and content hash included.
  std::uint64_t fingerprint() const;
  /// What an index file holds.
  std::span<const unsigned char> bytes() const { return bytes_; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const unsigned char> bytes_;
  std::span<const RecordEntry> records_;
  std::span<const MemberEntry> members_;
  std::string_view keys_;
  std::vector<std::string> extensions_;
};

/// xxh64 of the first and the last 16 KiB: with the size, what tells whether an index file still fits its shard.
std::uint64_t shard_content_hash(const InputFile& shard);

/// Splits "a/b.seg.PNG" into key "a/b" and extension "seg.png". Nothing for names that are no member of a record: no
/// extension, a base name that starts with a dot, or webdataset's metadata "__...__".
struct MemberName {
  std::string_view key;
  std::string extension;
};
std::optional<MemberName> split_member_name(std::string_view path);

}  // namespace triptych

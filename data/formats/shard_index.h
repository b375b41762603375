// Where every record of one tar shard lies: packed arrays, as they stand in the index file, read in place.
//
// What is checked when: opening reads the header, the extensions and a table of hashes, one for each kBlock records,
// and checks their checksum, so that it costs no more for more records. The entries, members and keys of a block are
// compared with the block's hash when one of its records is looked at for the first time.
//
// A record is the members of one shard whose path is equal up to the first dot of the base name (webdataset's rule),
// wherever in the shard they stand. Two members of one extension make it unusable; a lost header is a record of its own
// without a key, so that every damage is met, reported and counted once.
#pragma once
#include <atomic>
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
  static constexpr std::int64_t kBlock = 256;  ///< records that are checked together

  /// Reads all headers of the shard. Throws DataError: unreadable, or no tar archive (a compressed one is named so).
  static ShardIndex build(const InputFile& shard);
  /// The same from members that are known already. Throws DataError: more than an index can hold.
  static ShardIndex of_members(std::span<const TarMember> members, std::int64_t shard_size, std::uint64_t shard_hash);
  /// The bytes of an index file called `name`, which `owner` keeps alive (8-byte aligned). Nothing when they are not an
  /// index of this version, their head is damaged, or they are of another shard than the one with this size and content
  /// hash.
  static std::optional<ShardIndex> view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                        const std::string& name, std::int64_t shard_size, std::uint64_t shard_hash);

  std::int64_t size() const { return static_cast<std::int64_t>(records_.size()) - 1; }
  /// Of record 0 <= i < size(). Thread safe. These three throw StorageError, naming the file, when the block of the
  /// record is damaged.
  const RecordEntry& record(std::int64_t i) const;
  std::string_view key(std::int64_t i) const;
  std::span<const MemberEntry> members(std::int64_t i) const;
  /// Extensions by number, lower case, without the first dot: "jpg", "seg.png".
  const std::vector<std::string>& extensions() const { return extensions_; }
  std::int64_t shard_size() const;
  /// Hash of everything in the index, the shard's size and content hash included: its head's checksum.
  std::uint64_t fingerprint() const;
  /// What an index file holds.
  std::span<const unsigned char> bytes() const { return bytes_; }

 private:
  void check_block(std::size_t block) const;
  bool block_is_sound(std::size_t block) const;

  std::shared_ptr<const void> owner_;
  std::string name_;
  std::span<const unsigned char> bytes_;
  std::span<const RecordEntry> records_;
  std::span<const MemberEntry> members_;
  std::string_view keys_;
  std::span<const std::uint64_t> block_hashes_;
  std::vector<std::string> extensions_;
  mutable std::vector<std::atomic<bool>> checked_;  // by block
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

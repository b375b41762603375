// A zip archive as packed entries sorted by the hash of their names, as they stand in the index file: 32 bytes a file.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "data/formats/index_file.h"
#include "data/formats/input_file.h"

namespace triptych {

/// One file of the archive, as the central directory describes it.
struct ZipEntry {
  std::uint64_t name_hash;      ///< xxh64 of the name
  std::uint64_t header_offset;  ///< of its local header
  std::uint32_t packed_size, size;
  std::uint32_t crc;
  std::uint16_t method;  ///< 0: stored, 8: deflate
  std::uint16_t flaw;    ///< ZipFlaw
};
static_assert(sizeof(ZipEntry) == 32);

/// Why a file of the archive cannot be read. The numbers are stored in index files.
enum class ZipFlaw : std::uint16_t { kNone = 0, kEncrypted = 1, kMethod = 2, kHuge = 3, kOutside = 4 };

class ZipIndex {
 public:
  /// Reads the central directory, that of Zip64 too. Throws DataError: no zip archive, cut, several disks, a directory
  /// that contradicts itself or is larger than 2 GiB.
  static ZipIndex build(const InputFile& zip);
  static std::optional<ZipIndex> view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                      const InputFile& zip, std::uint64_t zip_hash);

  std::span<const ZipEntry> entries() const { return entries_; }
  /// Entries whose name has this hash.
  std::span<const ZipEntry> find(std::uint64_t name_hash) const;
  std::int64_t zip_size() const;
  std::uint64_t fingerprint() const;
  std::span<const unsigned char> bytes() const { return bytes_; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const unsigned char> bytes_;
  std::span<const ZipEntry> entries_;
};

Opened<ZipIndex> open_zip_index(const InputFile& zip, const std::string& index_dir);

/// The bytes of one file, its checksum compared. Throws DataError: no such name or two of them, encrypted, a method
/// other than stored and deflate, more than `limit` bytes, damaged, or an archive that is not the one that was indexed.
std::vector<unsigned char> read_zip_entry(const InputFile& zip, const ZipIndex& index, std::string_view name,
                                          std::int64_t limit);

}  // namespace triptych

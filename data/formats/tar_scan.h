// Walks the headers of a tar file: POSIX ustar, GNU (long names, base-256 numbers, sparse) and PAX (path, size).
// Nothing is ever extracted, so names with `..` or a leading slash are only names.
//
// Damage never ends a walk: a header that cannot be believed is reported, and the walk goes on at the next block that
// is a sound ustar header. So one bad sector costs one record, not the rest of the shard.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/formats/input_file.h"

namespace triptych {

/// Why a member, or a whole record, cannot be used. Numbers are stored in index files.
enum class Damage : std::uint16_t {
  kNone = 0,
  kHeaderChecksum = 1,  ///< the header's checksum is wrong: neither name nor size can be believed
  kHeaderCut = 2,       ///< the file ends inside a header
  kPayloadCut = 3,      ///< the file ends inside the member's bytes
  kBadSize = 4,         ///< the size field is negative or no number
  kLongName = 5,        ///< a name of more than kLongestTarName bytes, or one that holds a NUL
  kBadPax = 6,          ///< a PAX header that breaks its own grammar or is larger than 1 MiB
  kSparse = 7,          ///< a sparse member: its bytes are not the file's
  kHuge = 8,            ///< a member of 4 GiB or more
  kTwice = 9,           ///< two members of one key have the same extension
};

/// For messages: "the shard ends inside this member".
const char* damage_text(Damage damage);

inline constexpr std::int64_t kTarBlock = 512;
inline constexpr std::size_t kLongestTarName = 64 << 10;

/// One regular file of the archive, or (name empty, damage set) a place where a header was lost.
struct TarMember {
  std::string name;
  std::int64_t offset = 0;       ///< of its first header block, extension headers included
  std::int64_t data_offset = 0;  ///< of its bytes; the 512 bytes before them are its ustar header
  std::int64_t size = 0;
  std::uint32_t header_hash = 0;  ///< low half of xxh64 of that header: tells whether the shard is still the same
  Damage damage = Damage::kNone;
};

/// Hash that TarMember::header_hash holds.
std::uint32_t tar_header_hash(const unsigned char* block);

class TarScan {
 public:
  /// `file` must outlive the walk.
  explicit TarScan(const InputFile& file) : file_(file) {}
  /// The next regular file or lost header in the order of the archive; nothing at the end. Links, folders, devices and
  /// labels are passed over. Throws DataError when the file cannot be read.
  std::optional<TarMember> next();
  /// True once a sound header was met: false at the end of a file that is no tar archive.
  bool found_header() const { return found_header_; }

 private:
  struct Extension;
  const unsigned char* block(std::int64_t offset);
  std::int64_t next_sound_header(std::int64_t offset);
  TarMember lost(std::int64_t offset, Damage damage, std::int64_t resume);
  std::optional<TarMember> at_end(const Extension& extension);
  bool skip_zeros();
  void read_extension(Extension& extension, const unsigned char* header, std::int64_t size);
  TarMember member(const Extension& extension, const unsigned char* header);

  const InputFile& file_;
  std::vector<unsigned char> buffer_;
  std::int64_t buffer_offset_ = 0;
  std::int64_t offset_ = 0;
  bool found_header_ = false;
};

}  // namespace triptych

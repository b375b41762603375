// The tar formats, read header by header. Sources: POSIX.1-2017 pax (ustar and extended headers), GNU tar manual.
#include "data/formats/tar_scan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#include "core/base/hash.h"

namespace triptych {
namespace {

constexpr std::int64_t kLargestExtension = 1 << 20;
constexpr std::size_t kReadAhead = 64 << 10;

// Fields of a ustar header: offset and length.
constexpr int kName = 0, kNameLength = 100, kSize = 124, kSizeLength = 12, kChecksum = 148, kChecksumLength = 8,
              kType = 156, kMagic = 257, kPrefix = 345, kPrefixLength = 155, kSparseExtended = 482,
              kSparseContinued = 504;

std::string_view text_field(const unsigned char* block, int offset, int length) {
  const auto* begin = reinterpret_cast<const char*>(block + offset);
  return {begin, strnlen(begin, static_cast<std::size_t>(length))};
}

/// Octal digits between blanks, or GNU base-256 (first bit set). Nothing when it is neither or does not fit.
std::optional<std::int64_t> number_field(const unsigned char* field, int length) {
  if (field[0] & 0x80) {
    const bool negative = field[0] & 0x40;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    value = (value << 6) | (field[0] & 0x3F);
    for (int i = 1; i < length; ++i) {
      const auto top = value >> 55;  // what must be sign before another byte fits
      if (top != (negative ? 0x1FFU : 0U)) return std::nullopt;
      value = (value << 8) | field[i];
    }
    return static_cast<std::int64_t>(value);
  }
  int at = 0;
  while (at < length && field[at] == ' ') ++at;
  std::int64_t value = 0;
  for (; at < length && field[at] >= '0' && field[at] <= '7'; ++at) value = value * 8 + (field[at] - '0');
  if (at < length && field[at] != ' ' && field[at] != '\0') return std::nullopt;
  return value;
}

bool checksum_holds(const unsigned char* block) {
  const auto stored = number_field(block + kChecksum, kChecksumLength);
  if (!stored) return false;
  std::int64_t sum_unsigned = 0, sum_signed = 0;  // some old writers summed signed bytes
  for (int i = 0; i < kTarBlock; ++i) {
    const bool blank = i >= kChecksum && i < kChecksum + kChecksumLength;
    sum_unsigned += blank ? ' ' : block[i];
    sum_signed += blank ? ' ' : static_cast<signed char>(block[i]);
  }
  return *stored == sum_unsigned || *stored == sum_signed;
}

bool is_zero(const unsigned char* bytes, std::int64_t count = kTarBlock) {
  return std::all_of(bytes, bytes + count, [](unsigned char byte) { return byte == 0; });
}

bool has_magic(const unsigned char* block) {
  return std::memcmp(block + kMagic, "ustar", 5) == 0;
}

std::string header_name(const unsigned char* block) {
  std::string name(text_field(block, kName, kNameLength));
  const bool posix = std::memcmp(block + kMagic, "ustar\0", 6) == 0;  // GNU's "ustar " keeps dates in the prefix
  const auto prefix = posix ? text_field(block, kPrefix, kPrefixLength) : std::string_view();
  return prefix.empty() ? name : std::string(prefix) + "/" + name;
}

std::int64_t padded(std::int64_t size) {
  return (size + kTarBlock - 1) / kTarBlock * kTarBlock;
}

}  // namespace

const char* damage_text(Damage damage) {
  switch (damage) {
    case Damage::kNone:
      return "sound";
    case Damage::kHeaderChecksum:
      return "tar header with a wrong checksum";
    case Damage::kHeaderCut:
      return "the shard ends inside a tar header";
    case Damage::kPayloadCut:
      return "the shard ends inside this member";
    case Damage::kBadSize:
      return "the tar header's size is negative or no number";
    case Damage::kLongName:
      return "a member name longer than 64 KiB or with a NUL in it";
    case Damage::kBadPax:
      return "a PAX header that cannot be read";
    case Damage::kSparse:
      return "a sparse tar member";
    case Damage::kHuge:
      return "a member of 4 GiB or more";
    case Damage::kTwice:
      return "the key has two members of one extension";
  }
  return "unknown damage";
}

std::uint32_t tar_header_hash(const unsigned char* block) {
  return static_cast<std::uint32_t>(xxh64(block, static_cast<std::size_t>(kTarBlock)));
}

/// What extension headers say about the member that follows them.
struct TarScan::Extension {
  std::int64_t first_offset = -1;  ///< of the first of them
  std::optional<std::string> name;
  std::optional<std::int64_t> size;
  Damage damage = Damage::kNone;

  void read_long_name(std::string_view text) { name = std::string(text.substr(0, text.find('\0'))); }

  /// Records "LENGTH key=value\n", POSIX.
  void read_pax(std::string_view text) {
    while (!text.empty() && text[0] != '\0') {
      std::size_t length = 0;
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), length);
      const auto digits = static_cast<std::size_t>(parsed.ptr - text.data());
      const bool sound = parsed.ec == std::errc() && length > digits + 1 && length <= text.size() &&
                         text[digits] == ' ' && text[length - 1] == '\n';
      if (!sound) return void(damage = Damage::kBadPax);
      const auto record = text.substr(digits + 1, length - digits - 2);
      const auto equals = record.find('=');
      if (equals == std::string_view::npos) return void(damage = Damage::kBadPax);
      apply_pax(record.substr(0, equals), record.substr(equals + 1));
      text.remove_prefix(length);
    }
  }

  void apply_pax(std::string_view key, std::string_view value) {
    if (key == "path") {
      if (value.size() > kLongestTarName || value.find('\0') != std::string_view::npos) damage = Damage::kLongName;
      if (damage == Damage::kNone) name = std::string(value);
    } else if (key == "size") {
      std::int64_t number = -1;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || number < 0) {
        damage = Damage::kBadSize;
      } else {
        size = number;
      }
    } else if (key.starts_with("GNU.sparse.") && damage == Damage::kNone) {
      damage = Damage::kSparse;
    }
  }
};

const unsigned char* TarScan::block(std::int64_t offset) {
  const auto held = static_cast<std::int64_t>(buffer_.size());
  if (offset < buffer_offset_ || offset + kTarBlock > buffer_offset_ + held) {
    buffer_.resize(kReadAhead);
    buffer_offset_ = offset;
    buffer_.resize(file_.read_at(offset, buffer_));
    if (buffer_.size() < static_cast<std::size_t>(kTarBlock)) {  // the last, partial block
      buffer_.clear();
      return nullptr;
    }
  }
  return buffer_.data() + (offset - buffer_offset_);
}

std::int64_t TarScan::next_sound_header(std::int64_t offset) {
  offset = padded(offset);
  for (; const auto* bytes = block(offset); offset += kTarBlock) {
    if (has_magic(bytes) && checksum_holds(bytes)) return offset;
  }
  return file_.size();
}

TarMember TarScan::lost(std::int64_t offset, Damage damage, std::int64_t resume) {
  offset_ = resume;
  return {.name = {}, .offset = offset, .data_offset = offset, .size = 0, .header_hash = 0, .damage = damage};
}

/// Steps over an end mark (two blocks of zeros) and what may follow it: padding, another archive, or old garbage that
/// holds no header. True when it moved.
bool TarScan::skip_zeros() {
  const auto* bytes = block(offset_);
  if (!bytes || !is_zero(bytes)) return false;
  std::int64_t zeros = 0;
  for (; (bytes = block(offset_)) && is_zero(bytes); offset_ += kTarBlock) ++zeros;
  const bool garbage = zeros >= 2 && !(bytes && checksum_holds(bytes));
  if (garbage && next_sound_header(offset_) >= file_.size()) offset_ = file_.size();
  return true;
}

std::optional<TarMember> TarScan::at_end(const Extension& extension) {
  std::array<unsigned char, kTarBlock> rest{};
  const auto partial = offset_ < file_.size() ? file_.read_at(offset_, rest) : 0;
  const bool cut = partial > 0 && !is_zero(rest.data(), static_cast<std::int64_t>(partial));
  const auto start = extension.first_offset >= 0 ? extension.first_offset : offset_;
  offset_ = file_.size();
  if (!cut && extension.first_offset < 0) return std::nullopt;
  // A first block that is cut must look like tar, or any text file of 300 bytes would be an archive.
  if (std::memcmp(rest.data() + kMagic, "ustar", 5) == 0) found_header_ = true;
  return lost(start, Damage::kHeaderCut, file_.size());
}

void TarScan::read_extension(Extension& extension, const unsigned char* header, std::int64_t size) {
  const char type = static_cast<char>(header[kType]);
  const auto header_offset = offset_, data_offset = offset_ + kTarBlock;
  offset_ = data_offset + padded(size);
  if (type == 'g' || type == 'K') return;  // defaults for all members and long link targets: neither names a member
  if (extension.first_offset < 0) extension.first_offset = header_offset;
  const bool long_name = type == 'L';
  const auto limit = long_name ? static_cast<std::int64_t>(kLongestTarName) : kLargestExtension;
  if (size > limit) return void(extension.damage = long_name ? Damage::kLongName : Damage::kBadPax);
  std::string text(static_cast<std::size_t>(size), '\0');
  file_.read_at(data_offset, {reinterpret_cast<unsigned char*>(text.data()), text.size()});
  long_name ? extension.read_long_name(text) : extension.read_pax(text);
}

TarMember TarScan::member(const Extension& extension, const unsigned char* header) {
  TarMember found;
  found.name = extension.name ? *extension.name : header_name(header);
  found.offset = extension.first_offset >= 0 ? extension.first_offset : offset_;
  found.data_offset = offset_ + kTarBlock;
  found.header_hash = tar_header_hash(header);
  found.damage = extension.damage;
  const bool old_sparse = header[kType] == 'S';
  if (old_sparse && found.damage == Damage::kNone) found.damage = Damage::kSparse;
  auto size = extension.size ? extension.size : number_field(header + kSize, kSizeLength);
  for (bool more = old_sparse && header[kSparseExtended] != 0; more; found.data_offset += kTarBlock) {
    const auto* map = block(found.data_offset);
    more = map && map[kSparseContinued] != 0;
  }
  if (!size || *size < 0) {
    found.damage = Damage::kBadSize;
  } else if (*size > file_.size() - found.data_offset) {
    found.damage = Damage::kPayloadCut;
  } else {
    found.size = *size;
    offset_ = found.data_offset + padded(*size);
    return found;
  }
  // A size that cannot be right says nothing about where the next header is.
  offset_ = next_sound_header(found.data_offset);
  return found;
}

std::optional<TarMember> TarScan::next() {
  Extension extension;
  while (true) {
    if (extension.first_offset < 0 && skip_zeros()) continue;
    const auto* bytes = block(offset_);
    if (!bytes) return at_end(extension);
    if (!checksum_holds(bytes)) {
      const auto start = extension.first_offset >= 0 ? extension.first_offset : offset_;
      return lost(start, Damage::kHeaderChecksum, next_sound_header(offset_ + kTarBlock));
    }
    found_header_ = true;
    std::array<unsigned char, kTarBlock> header;  // block() may move its buffer
    std::copy_n(bytes, kTarBlock, header.begin());
    const char type = static_cast<char>(header[kType]);
    if (type == '0' || type == '\0' || type == '7' || type == 'S') {
      auto found = member(extension, header.data());
      if (type == '\0' && found.name.ends_with('/')) {  // a folder, as tar wrote it before 1988
        extension = {};
        continue;
      }
      return found;
    }
    const bool empty = type >= '1' && type <= '6';  // links, devices, folders: no bytes follow, whatever size says
    const auto size = empty ? std::optional<std::int64_t>(0) : number_field(header.data() + kSize, kSizeLength);
    const bool sound = size && *size >= 0 && *size <= file_.size() - offset_ - kTarBlock;
    if (!sound) {
      const auto start = extension.first_offset >= 0 ? extension.first_offset : offset_;
      const auto damage = size && *size >= 0 ? Damage::kHeaderCut : Damage::kBadSize;
      return lost(start, damage, next_sound_header(offset_ + kTarBlock));
    }
    if (type == 'L' || type == 'K' || type == 'x' || type == 'X' || type == 'g') {
      read_extension(extension, header.data(), *size);
    } else {
      offset_ += kTarBlock + padded(*size);
      extension = {};
    }
  }
}

}  // namespace triptych

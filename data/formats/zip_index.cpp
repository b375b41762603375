// Source: APPNOTE.TXT, the .ZIP File Format Specification 6.3.10: sections 4.3.7 (local header), 4.3.12 (central
// directory), 4.3.14 to 4.3.16 (its ends), 4.5.3 (Zip64 field). Every number is checked against the file before use.
#include "data/formats/zip_index.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

constexpr char kZipMagic[8] = {'T', 'R', 'I', 'P', 'T', 'Z', 'I', 'P'};
constexpr std::uint32_t kZipVersion = 1;
constexpr std::uint32_t kLocalHeader = 0x04034B50, kCentralHeader = 0x02014B50, kEnd = 0x06054B50, kEnd64 = 0x06064B50,
                        kEnd64Locator = 0x07064B50;
constexpr std::size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20;
constexpr std::uint32_t kIn64 = 0xFFFFFFFF;  // "see the Zip64 field"
constexpr std::uint64_t kLargestDirectory = std::uint64_t{2} << 30;

struct ZipIndexHeader {
  char magic[8];
  std::uint32_t version, unused;
  std::uint64_t zip_size;
  std::uint64_t zip_hash;
  std::uint64_t entries;
  std::uint64_t checksum;  ///< xxh64 of the whole file with this field zero
};
static_assert(sizeof(ZipIndexHeader) == 48);

template <class Number>
Number number_at(const std::vector<unsigned char>& bytes, std::size_t at) {
  Number value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

std::vector<unsigned char> bytes_at(const InputFile& zip, std::uint64_t offset, std::uint64_t size) {
  std::vector<unsigned char> bytes(size);
  bytes.resize(zip.read_at(static_cast<std::int64_t>(offset), bytes));
  if (bytes.size() != size) throw DataError(printable(zip.path()) + " ends inside its directory");
  return bytes;
}

[[noreturn]] void no_zip(const InputFile& zip, const std::string& why) {
  throw DataError(printable(zip.path()) + " is no zip archive that can be read: " + why);
}

struct Directory {
  std::uint64_t offset = 0, size = 0, entries = 0;
};

/// Where the end record is: the last one whose comment reaches exactly to the end of the file.
std::size_t find_end(const InputFile& zip, const std::vector<unsigned char>& tail) {
  for (auto at = tail.size() < kEndSize ? 0 : tail.size() - kEndSize + 1; at-- > 0;) {
    const bool found = number_at<std::uint32_t>(tail, at) == kEnd;
    if (found && at + kEndSize + number_at<std::uint16_t>(tail, at + 20) == tail.size()) return at;
  }
  no_zip(zip, "it has no end record; is it complete?");
}

Directory find_directory(const InputFile& zip) {
  const auto size = static_cast<std::uint64_t>(zip.size());
  const auto tail_size = std::min<std::uint64_t>(size, kEndSize + 0xFFFF + kLocatorSize);
  const auto tail = bytes_at(zip, size - tail_size, tail_size);
  const auto end = find_end(zip, tail);
  if (number_at<std::uint16_t>(tail, end + 4) != number_at<std::uint16_t>(tail, end + 6)) {
    no_zip(zip, "it is one of several parts");
  }
  Directory directory{number_at<std::uint32_t>(tail, end + 16), number_at<std::uint32_t>(tail, end + 12),
                      number_at<std::uint16_t>(tail, end + 10)};
  const bool has_64 = end >= kLocatorSize && number_at<std::uint32_t>(tail, end - kLocatorSize) == kEnd64Locator;
  if (has_64) {
    const auto at = number_at<std::uint64_t>(tail, end - kLocatorSize + 8);
    if (at > size || size - at < kEnd64Size) no_zip(zip, "its Zip64 end record lies outside the file");
    const auto record = bytes_at(zip, at, kEnd64Size);
    if (number_at<std::uint32_t>(record, 0) != kEnd64) no_zip(zip, "its Zip64 end record is not where it should be");
    directory = {number_at<std::uint64_t>(record, 48), number_at<std::uint64_t>(record, 40),
                 number_at<std::uint64_t>(record, 32)};
  }
  if (directory.offset > size || directory.size > size - directory.offset) {
    no_zip(zip, "its directory lies outside the file");
  }
  if (directory.size > kLargestDirectory) no_zip(zip, "its directory is larger than 2 GiB");
  if (directory.entries > directory.size / kCentralSize) no_zip(zip, "its directory is too short for its entries");
  return directory;
}

/// Sizes and offset of an entry, from its Zip64 field where they do not fit.
struct EntryNumbers {
  std::uint64_t size, packed_size, offset;
};

bool read_zip64(const std::vector<unsigned char>& bytes, std::size_t at, std::size_t end, EntryNumbers& numbers) {
  while (end - at >= 4) {
    const auto id = number_at<std::uint16_t>(bytes, at);
    const std::size_t length = number_at<std::uint16_t>(bytes, at + 2);
    at += 4;
    if (length > end - at) return false;
    if (id == 1) {
      auto field = at;
      for (auto* number : {&numbers.size, &numbers.packed_size, &numbers.offset}) {
        if (*number != kIn64) continue;
        if (at + length - field < 8) return false;
        *number = number_at<std::uint64_t>(bytes, field);
        field += 8;
      }
      return true;
    }
    at += length;
  }
  return true;
}

ZipEntry make_entry(const InputFile& zip, const std::vector<unsigned char>& bytes, std::size_t at,
                    std::size_t name_length, std::size_t extra_length) {
  EntryNumbers numbers{number_at<std::uint32_t>(bytes, at + 24), number_at<std::uint32_t>(bytes, at + 20),
                       number_at<std::uint32_t>(bytes, at + 42)};
  const auto name = at + kCentralSize, extra = name + name_length;
  const bool sound = read_zip64(bytes, extra, extra + extra_length, numbers);
  const auto method = number_at<std::uint16_t>(bytes, at + 10);
  auto flaw = ZipFlaw::kNone;
  const auto file_size = static_cast<std::uint64_t>(zip.size());
  if (!sound || numbers.offset > file_size || file_size - numbers.offset < kLocalSize ||
      numbers.packed_size > file_size) {
    flaw = ZipFlaw::kOutside;
  } else if (numbers.size >= kIn64 || numbers.packed_size >= kIn64) {
    flaw = ZipFlaw::kHuge;
  } else if (number_at<std::uint16_t>(bytes, at + 8) & 1) {
    flaw = ZipFlaw::kEncrypted;
  } else if (method != 0 && method != 8) {
    flaw = ZipFlaw::kMethod;
  }
  return {xxh64(bytes.data() + name, name_length),
          numbers.offset,
          static_cast<std::uint32_t>(numbers.packed_size),
          static_cast<std::uint32_t>(numbers.size),
          number_at<std::uint32_t>(bytes, at + 16),
          method,
          static_cast<std::uint16_t>(flaw)};
}

std::vector<ZipEntry> read_directory(const InputFile& zip) {
  const auto directory = find_directory(zip);
  const auto bytes = bytes_at(zip, directory.offset, directory.size);
  std::vector<ZipEntry> entries;
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const bool header = bytes.size() - at >= kCentralSize && number_at<std::uint32_t>(bytes, at) == kCentralHeader;
    if (!header) no_zip(zip, "entry " + std::to_string(i) + " of its directory is damaged");
    const std::size_t name = number_at<std::uint16_t>(bytes, at + 28), extra = number_at<std::uint16_t>(bytes, at + 30),
                      comment = number_at<std::uint16_t>(bytes, at + 32);
    if (bytes.size() - at - kCentralSize < name + extra + comment) {
      no_zip(zip, "entry " + std::to_string(i) + " of its directory is cut");
    }
    const bool folder = name > 0 && bytes[at + kCentralSize + name - 1] == '/';
    if (!folder) entries.push_back(make_entry(zip, bytes, at, name, extra));
    at += kCentralSize + name + extra + comment;
  }
  std::sort(entries.begin(), entries.end(), [](const ZipEntry& a, const ZipEntry& b) {
    return std::pair(a.name_hash, a.header_offset) < std::pair(b.name_hash, b.header_offset);
  });
  return entries;
}

void check_flaw(const ZipEntry& entry) {
  switch (static_cast<ZipFlaw>(entry.flaw)) {
    case ZipFlaw::kNone:
      return;
    case ZipFlaw::kEncrypted:
      throw DataError("is encrypted");
    case ZipFlaw::kMethod:
      throw DataError("is packed by method " + std::to_string(entry.method) +
                      "; stored and deflate are read: pack the archive again");
    case ZipFlaw::kHuge:
      throw DataError("has 4 GiB or more");
    case ZipFlaw::kOutside:
      throw DataError("lies outside the archive");
  }
  throw DataError("has an unknown flaw");
}

std::vector<unsigned char> inflate_entry(std::span<const unsigned char> packed, const ZipEntry& entry) {
  std::vector<unsigned char> bytes(entry.size);
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ending(&stream, inflateEnd);
  unsigned char none = 0;  // zlib wants a place even for no byte
  stream.next_in = const_cast<unsigned char*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = bytes.empty() ? &none : bytes.data();
  stream.avail_out = static_cast<uInt>(bytes.size());
  const int status = inflate(&stream, Z_FINISH);
  if (status != Z_STREAM_END || stream.avail_out != 0) throw DataError("is damaged: it cannot be inflated to its size");
  return bytes;
}

/// The local header's name, which tells entries of one hash apart, and where the file's bytes begin.
struct LocalFile {
  std::string name;
  std::uint64_t data_offset = 0;
};

LocalFile read_local(const InputFile& zip, const ZipEntry& entry) {
  std::vector<unsigned char> header(kLocalSize);
  const auto at = static_cast<std::int64_t>(entry.header_offset);
  const bool sound = zip.read_at(at, header) == kLocalSize && number_at<std::uint32_t>(header, 0) == kLocalHeader &&
                     number_at<std::uint16_t>(header, 8) == entry.method;
  if (!sound) throw DataError("has no local header: the archive is damaged, or has changed since it was indexed");
  const std::size_t name = number_at<std::uint16_t>(header, 26), extra = number_at<std::uint16_t>(header, 28);
  LocalFile local{std::string(name, '\0'), entry.header_offset + kLocalSize + name + extra};
  local.name.resize(zip.read_at(at + static_cast<std::int64_t>(kLocalSize),
                                {reinterpret_cast<unsigned char*>(local.name.data()), name}));
  return local;
}

std::vector<unsigned char> read_entry(const InputFile& zip, const ZipEntry& entry, std::uint64_t data_offset,
                                      std::int64_t limit) {
  const auto most = static_cast<std::uint64_t>(limit);
  if (entry.size > most || entry.packed_size > most) {
    throw DataError("has " + std::to_string(std::max(entry.size, entry.packed_size)) + " bytes; at most " +
                    std::to_string(limit) + " are read");
  }
  if (entry.method == 0 && entry.packed_size != entry.size) throw DataError("is stored, but has two sizes");
  // Deflate packs at most 1032 to 1: no memory is spent on a size that the bytes cannot have.
  if (entry.size / 1032 > entry.packed_size) {
    throw DataError("is damaged: " + std::to_string(entry.packed_size) + " bytes cannot be inflated to " +
                    std::to_string(entry.size));
  }
  if (data_offset + entry.packed_size > static_cast<std::uint64_t>(zip.size())) throw DataError("is cut");
  std::vector<unsigned char> packed(entry.packed_size);
  if (zip.read_at(static_cast<std::int64_t>(data_offset), packed) != packed.size()) throw DataError("is cut");
  auto bytes = entry.method == 0 ? std::move(packed) : inflate_entry(packed, entry);
  const auto crc = crc32_z(0, bytes.data(), bytes.size());
  if (crc != entry.crc) throw DataError("is damaged: its checksum is wrong");
  return bytes;
}

}  // namespace

ZipIndex ZipIndex::build(const InputFile& zip) {
  const auto entries = read_directory(zip);
  ZipIndexHeader header{};
  std::memcpy(header.magic, kZipMagic, sizeof(kZipMagic));
  header.version = kZipVersion;
  header.zip_size = static_cast<std::uint64_t>(zip.size());
  header.zip_hash = shard_content_hash(zip);
  header.entries = entries.size();
  const auto bytes = std::make_shared<std::vector<unsigned char>>(sizeof(header) + entries.size() * sizeof(ZipEntry));
  std::memcpy(bytes->data(), &header, sizeof(header));
  if (!entries.empty()) std::memcpy(bytes->data() + sizeof(header), entries.data(), entries.size() * sizeof(ZipEntry));
  header.checksum = index_checksum<ZipIndexHeader>(*bytes);
  std::memcpy(bytes->data(), &header, sizeof(header));
  auto index = view(*bytes, bytes, zip, header.zip_hash);
  if (!index) throw std::logic_error("an index that was just built does not read back");
  return std::move(*index);
}

std::optional<ZipIndex> ZipIndex::view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                       const InputFile& zip, std::uint64_t zip_hash) {
  ZipIndexHeader header;
  if (bytes.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kZipMagic, sizeof(kZipMagic)) != 0 || header.version != kZipVersion)
    return std::nullopt;
  if (header.zip_size != static_cast<std::uint64_t>(zip.size()) || header.zip_hash != zip_hash) return std::nullopt;
  if (header.entries >= bytes.size()) return std::nullopt;  // before it is multiplied
  if (sizeof(header) + header.entries * sizeof(ZipEntry) != bytes.size()) return std::nullopt;
  if (index_checksum<ZipIndexHeader>(bytes) != header.checksum) return std::nullopt;
  ZipIndex index;
  index.owner_ = std::move(owner);
  index.bytes_ = bytes;
  index.entries_ = {reinterpret_cast<const ZipEntry*>(bytes.data() + sizeof(header)), header.entries};
  return index;
}

std::span<const ZipEntry> ZipIndex::find(std::uint64_t name_hash) const {
  // std::ranges::equal_range would do, but clang 14 (tests/fuzz) cannot compile it.
  const auto first = std::partition_point(entries_.begin(), entries_.end(),
                                          [&](const ZipEntry& entry) { return entry.name_hash < name_hash; });
  const auto last =
      std::partition_point(first, entries_.end(), [&](const ZipEntry& entry) { return entry.name_hash == name_hash; });
  return {first, last};
}

std::int64_t ZipIndex::zip_size() const {
  ZipIndexHeader header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  return static_cast<std::int64_t>(header.zip_size);
}

std::uint64_t ZipIndex::fingerprint() const {
  return xxh64(bytes_.data(), bytes_.size());
}

Opened<ZipIndex> open_zip_index(const InputFile& zip, const std::string& index_dir) {
  const auto hash = shard_content_hash(zip);
  return open_index_file<ZipIndex>(
      zip, index_path(zip.path(), index_dir),
      [&](auto bytes, auto owner) { return ZipIndex::view(bytes, owner, zip, hash); },
      [&] { return ZipIndex::build(zip); });
}

std::vector<unsigned char> read_zip_entry(const InputFile& zip, const ZipIndex& index, std::string_view name,
                                          std::int64_t limit) {
  if (zip.size() != index.zip_size()) {
    throw DataError("the archive has " + std::to_string(zip.size()) + " bytes, but had " +
                    std::to_string(index.zip_size()) + " when it was indexed");
  }
  const auto found = index.find(xxh64(name));
  if (found.empty()) throw DataError("there is no file '" + printable(name) + "' in the archive");
  if (found.size() > 1) throw DataError("the archive has two files '" + printable(name) + "'");
  const auto& entry = found.front();
  try {
    check_flaw(entry);
    const auto local = read_local(zip, entry);
    if (local.name != name) throw DataError("has another name in its local header: the archive is damaged or changed");
    return read_entry(zip, entry, local.data_offset, limit);
  } catch (const DataError& error) {
    throw DataError("'" + printable(name) + "' " + error.what());
  }
}

}  // namespace triptych

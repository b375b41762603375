// Building an index from a walk over the shard, and reading one from bytes that may be anything.
#include "data/formats/shard_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

static_assert(std::endian::native == std::endian::little, "index files are little endian");
static_assert(sizeof(RecordEntry) == 24 && sizeof(MemberEntry) == 24);

constexpr char kMagic[8] = {'T', 'R', 'I', 'P', 'T', 'I', 'D', 'X'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kLongestExtension = 32;
constexpr std::uint16_t kMostExtensions = 1000;  // an archive with more has names, not extensions

/// Start of an index file; the arrays follow in the order of their counts, each padded to 8 bytes.
struct FileHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t extension_bytes;  ///< extensions, each ended by a newline
  std::uint64_t shard_size;
  std::uint64_t shard_hash;
  std::uint64_t records;  ///< without the closing entry
  std::uint64_t members;
  std::uint64_t key_bytes;
  std::uint64_t checksum;  ///< xxh64 of the whole file with this field zero
};
static_assert(sizeof(FileHeader) == 64);

std::uint64_t padded8(std::uint64_t n) {
  return (n + 7) / 8 * 8;
}

std::uint64_t checksum_of(std::span<const unsigned char> bytes) {
  FileHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.checksum = 0;
  const auto body = bytes.subspan(sizeof(header));
  return Xxh64().add(&header, sizeof(header)).add(body.data(), body.size()).value();
}

/// What a shard is when it is no tar archive, for the message.
std::string describe_foreign(const InputFile& shard) {
  std::array<unsigned char, 6> head{};
  shard.read_at(0, head);
  const auto starts = [&](std::initializer_list<int> magic) {
    return std::equal(magic.begin(), magic.end(), head.begin(), [](int a, unsigned char b) { return a == b; });
  };
  if (starts({0x1F, 0x8B})) return "it is compressed by gzip";
  if (starts({0x28, 0xB5, 0x2F, 0xFD})) return "it is compressed by zstd";
  if (starts({0xFD, '7', 'z', 'X', 'Z'}))
    return "it is compressed by xz; shards are read at random: unpack it with unxz";
  if (starts({'B', 'Z', 'h'})) return "it is compressed by bzip2; shards are read at random: unpack it with bunzip2";
  if (starts({'P', 'K', 3, 4})) return "it is a zip archive; pack the files with tar instead";
  return "it has no tar header";
}

/// Groups members into records while the shard is walked.
class Builder {
 public:
  void add(const TarMember& member) {
    if (member.name.empty()) return add_lost(member);
    const auto name = split_member_name(member.name);
    if (!name) return;
    const auto [found, fresh] = by_key_.try_emplace(std::string(name->key), records_.size());
    if (fresh) records_.push_back({std::string(name->key), member.offset, Damage::kNone, {}});
    auto& record = records_[found->second];
    const auto extension = extension_number(name->extension);
    if (!extension) return;
    const bool twice = std::any_of(record.members.begin(), record.members.end(),
                                   [&](const MemberEntry& other) { return other.extension == *extension; });
    if (twice) record.damage = Damage::kTwice;
    const bool huge = member.size > std::numeric_limits<std::uint32_t>::max();
    const auto damage = huge ? Damage::kHuge : member.damage;
    record.members.push_back({static_cast<std::uint64_t>(member.data_offset),
                              huge ? 0 : static_cast<std::uint32_t>(member.size), member.header_hash, *extension,
                              static_cast<std::uint16_t>(damage), 0});
  }

  std::vector<unsigned char> encode(std::int64_t shard_size, std::uint64_t shard_hash) const {
    std::vector<RecordEntry> records;
    std::vector<MemberEntry> members;
    std::string keys, extensions;
    for (const auto& record : records_) {
      records.push_back({static_cast<std::uint64_t>(record.offset),
                         static_cast<std::uint32_t>(members.size()),
                         static_cast<std::uint32_t>(keys.size()),
                         static_cast<std::uint16_t>(record.damage),
                         {}});
      members.insert(members.end(), record.members.begin(), record.members.end());
      keys += record.key;
      if (members.size() > kMostEntries || keys.size() > kMostEntries) {
        throw DataError("more than 4 billion members or bytes of names in one shard; split it");
      }
    }
    records.push_back({static_cast<std::uint64_t>(shard_size),
                       static_cast<std::uint32_t>(members.size()),
                       static_cast<std::uint32_t>(keys.size()),
                       0,
                       {}});
    for (const auto& extension : extensions_) extensions += extension + "\n";
    FileHeader header{};
    std::memcpy(header.magic, kMagic, sizeof(kMagic));
    header.version = kVersion;
    header.extension_bytes = static_cast<std::uint32_t>(extensions.size());
    header.shard_size = static_cast<std::uint64_t>(shard_size);
    header.shard_hash = shard_hash;
    header.records = records_.size();
    header.members = members.size();
    header.key_bytes = keys.size();
    std::vector<unsigned char> bytes;
    const auto append = [&](const void* data, std::size_t size) {
      const auto* begin = static_cast<const unsigned char*>(data);
      bytes.insert(bytes.end(), begin, begin + size);
      bytes.resize(padded8(bytes.size()));
    };
    append(&header, sizeof(header));
    append(records.data(), records.size() * sizeof(RecordEntry));
    append(members.data(), members.size() * sizeof(MemberEntry));
    append(keys.data(), keys.size());
    append(extensions.data(), extensions.size());
    header.checksum = checksum_of(bytes);
    std::memcpy(bytes.data(), &header, sizeof(header));
    return bytes;
  }

 private:
  static constexpr std::size_t kMostEntries = std::numeric_limits<std::uint32_t>::max();
  struct Draft {
    std::string key;
    std::int64_t offset;
    Damage damage;
    std::vector<MemberEntry> members;
  };

  void add_lost(const TarMember& member) { records_.push_back({{}, member.offset, member.damage, {}}); }

  std::optional<std::uint16_t> extension_number(const std::string& extension) {
    if (extension.size() > kLongestExtension || extension.find('\n') != std::string::npos) return std::nullopt;
    const auto found = std::find(extensions_.begin(), extensions_.end(), extension);
    if (found == extensions_.end()) {
      if (extensions_.size() == kMostExtensions) return std::nullopt;
      extensions_.push_back(extension);
      return static_cast<std::uint16_t>(extensions_.size() - 1);
    }
    return static_cast<std::uint16_t>(found - extensions_.begin());
  }

  std::vector<Draft> records_;
  std::unordered_map<std::string, std::size_t> by_key_;
  std::vector<std::string> extensions_;
};

}  // namespace

std::optional<MemberName> split_member_name(std::string_view path) {
  const auto slash = path.rfind('/');
  const auto base_begin = slash == std::string_view::npos ? 0 : slash + 1;
  const auto base = path.substr(base_begin);
  const auto dot = base.find('.');
  if (dot == 0 || dot == std::string_view::npos || dot + 1 == base.size()) return std::nullopt;
  if (base.starts_with("__") && base.find("__", 2) != std::string_view::npos) return std::nullopt;
  std::string extension(base.substr(dot + 1));
  for (auto& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return MemberName{path.substr(0, base_begin + dot), std::move(extension)};
}

std::uint64_t shard_content_hash(const InputFile& shard) {
  constexpr std::int64_t kEdge = 16 << 10;
  std::vector<unsigned char> edge(static_cast<std::size_t>(kEdge));
  Xxh64 hash;
  hash.add(edge.data(), shard.read_at(0, edge));
  hash.add(edge.data(), shard.read_at(std::max<std::int64_t>(shard.size() - kEdge, 0), edge));
  return hash.value();
}

ShardIndex ShardIndex::build(const InputFile& shard) {
  Builder builder;
  TarScan scan(shard);
  bool damaged = false;
  while (const auto member = scan.next()) {
    builder.add(*member);
    damaged |= member->damage != Damage::kNone;
  }
  if (!scan.found_header() && damaged) {
    throw DataError(printable(shard.path()) + " is no tar archive: " + describe_foreign(shard));
  }
  const auto hash = shard_content_hash(shard);
  const auto bytes = std::make_shared<const std::vector<unsigned char>>(builder.encode(shard.size(), hash));
  auto index = view(*bytes, bytes, shard.size(), hash);
  if (!index) throw std::logic_error("an index that was just built does not read back");
  return std::move(*index);
}

std::optional<ShardIndex> ShardIndex::view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                           std::int64_t shard_size, std::uint64_t shard_hash) {
  FileHeader header;
  if (bytes.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.version != kVersion) return std::nullopt;
  if (header.shard_size != static_cast<std::uint64_t>(shard_size) || header.shard_hash != shard_hash)
    return std::nullopt;
  const std::uint64_t limit = bytes.size();  // each count is checked before it is multiplied
  if (header.records >= limit || header.members >= limit || header.key_bytes >= limit) return std::nullopt;
  const auto records_at = sizeof(header);
  const auto members_at = records_at + (header.records + 1) * sizeof(RecordEntry);
  const auto keys_at = members_at + header.members * sizeof(MemberEntry);
  const auto extensions_at = keys_at + padded8(header.key_bytes);
  if (extensions_at + padded8(header.extension_bytes) != limit) return std::nullopt;
  if (checksum_of(bytes) != header.checksum) return std::nullopt;

  ShardIndex index;
  index.owner_ = std::move(owner);
  index.bytes_ = bytes;
  index.records_ = {reinterpret_cast<const RecordEntry*>(bytes.data() + records_at), header.records + 1};
  index.members_ = {reinterpret_cast<const MemberEntry*>(bytes.data() + members_at), header.members};
  index.keys_ = {reinterpret_cast<const char*>(bytes.data() + keys_at), header.key_bytes};
  std::string_view names(reinterpret_cast<const char*>(bytes.data() + extensions_at), header.extension_bytes);
  for (auto end = names.find('\n'); end != std::string_view::npos; end = names.find('\n')) {
    index.extensions_.emplace_back(names.substr(0, end));
    names.remove_prefix(end + 1);
  }
  for (std::size_t i = 0; i < index.records_.size(); ++i) {
    const auto& entry = index.records_[i];
    const bool last = i + 1 == index.records_.size();
    if (entry.first_member > (last ? header.members : index.records_[i + 1].first_member)) return std::nullopt;
    if (entry.key_begin > (last ? header.key_bytes : index.records_[i + 1].key_begin)) return std::nullopt;
  }
  const auto sound = [&](const MemberEntry& m) {
    return m.extension < index.extensions_.size() && m.data_offset <= header.shard_size &&
           m.size <= header.shard_size - m.data_offset;
  };
  if (!std::all_of(index.members_.begin(), index.members_.end(), sound)) return std::nullopt;
  return index;
}

std::string_view ShardIndex::key(std::int64_t i) const {
  const auto begin = record(i).key_begin;
  return keys_.substr(begin, record(i + 1).key_begin - begin);
}

std::span<const MemberEntry> ShardIndex::members(std::int64_t i) const {
  const auto begin = record(i).first_member;
  return members_.subspan(begin, record(i + 1).first_member - begin);
}

std::int64_t ShardIndex::shard_size() const {
  FileHeader header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  return static_cast<std::int64_t>(header.shard_size);
}

std::uint64_t ShardIndex::fingerprint() const {
  return xxh64(bytes_.data(), bytes_.size());
}

}  // namespace triptych

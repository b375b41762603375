// Building an index from a walk over the shard, and reading one from bytes that may be anything.
#include "data/formats/shard_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/index_file.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

static_assert(std::endian::native == std::endian::little, "index files are little endian");
static_assert(sizeof(RecordEntry) == 24 && sizeof(MemberEntry) == 24);

constexpr char kShardMagic[8] = {'T', 'R', 'I', 'P', 'T', 'I', 'D', 'X'};
constexpr std::uint32_t kShardVersion = 2;
constexpr std::size_t kLongestExtension = 32;
constexpr std::uint16_t kMostExtensions = 1000;  // an archive with more has names, not extensions

/// Start of an index file. It is followed by the blocks' hashes and the extensions (the head), then by records, members
/// and keys; each is padded to 8 bytes.
struct ShardIndexHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t extension_bytes;  ///< extensions, each ended by a newline
  std::uint64_t shard_size;
  std::uint64_t shard_hash;
  std::uint64_t records;  ///< without the closing entry
  std::uint64_t members;
  std::uint64_t key_bytes;
  std::uint64_t checksum;  ///< xxh64 of the head with this field zero
};
static_assert(sizeof(ShardIndexHeader) == 64);

constexpr std::uint64_t kMostCount = std::uint64_t{1} << 40;  // so that no sum of sizes below overflows

std::uint64_t blocks_of(std::uint64_t records) {
  return (records + ShardIndex::kBlock - 1) / ShardIndex::kBlock;
}

/// Where the parts of a file with this header begin, in bytes.
struct Layout {
  std::uint64_t hashes, extensions, records, members, keys, end;
  explicit Layout(const ShardIndexHeader& header)
      : hashes(sizeof(ShardIndexHeader)),
        extensions(hashes + blocks_of(header.records) * sizeof(std::uint64_t)),
        records(extensions + padded8(header.extension_bytes)),
        members(records + (header.records + 1) * sizeof(RecordEntry)),
        keys(members + header.members * sizeof(MemberEntry)),
        end(keys + padded8(header.key_bytes)) {}
};

/// `head`: the file up to its records.
std::uint64_t checksum_of(ShardIndexHeader header, std::span<const unsigned char> head) {
  header.checksum = 0;
  const auto rest = head.subspan(sizeof(header));
  return Xxh64().add(&header, sizeof(header)).add(rest.data(), rest.size()).value();
}

/// Of the records [begin, end) with the entry behind them, their members and their keys. Their bounds are sound.
std::uint64_t block_hash(std::span<const RecordEntry> records, std::span<const MemberEntry> members,
                         std::string_view keys, std::size_t begin, std::size_t end) {
  const auto &first = records[begin], &last = records[end];
  return Xxh64()
      .add(&first, (end - begin + 1) * sizeof(RecordEntry))
      .add(members.data() + first.first_member, (last.first_member - first.first_member) * sizeof(MemberEntry))
      .add(keys.substr(first.key_begin, last.key_begin - first.key_begin))
      .value();
}

/// What a shard is when it is no tar archive, for the message.
std::string describe_foreign(const InputFile& shard) {
  std::array<unsigned char, 6> head{};
  shard.read_at(0, head);
  const auto starts = [&](std::initializer_list<int> magic) {
    return std::equal(magic.begin(), magic.end(), head.begin(), [](int a, unsigned char b) { return a == b; });
  };
  if (starts({0x1F, 0x8B}))
    return "it is compressed by gzip; a corpus unpacks it (`triptych data show CONFIG`), and so does gunzip";
  if (starts({0x28, 0xB5, 0x2F, 0xFD}))
    return "it is compressed by zstd; a corpus unpacks it (`triptych data show CONFIG`), and so does unzstd";
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
    ShardIndexHeader header{};
    std::memcpy(header.magic, kShardMagic, sizeof(kShardMagic));
    header.version = kShardVersion;
    header.extension_bytes = static_cast<std::uint32_t>(extensions.size());
    header.shard_size = static_cast<std::uint64_t>(shard_size);
    header.shard_hash = shard_hash;
    header.records = records_.size();
    header.members = members.size();
    header.key_bytes = keys.size();
    const Layout layout(header);
    std::vector<std::uint64_t> hashes;
    for (std::size_t begin = 0; begin < records_.size(); begin += ShardIndex::kBlock) {
      const auto end = std::min<std::size_t>(begin + ShardIndex::kBlock, records_.size());
      hashes.push_back(block_hash(records, members, keys, begin, end));
    }
    std::vector<unsigned char> bytes(layout.end);
    const auto put = [&](std::uint64_t at, const void* data, std::size_t size) {
      if (size > 0) std::memcpy(bytes.data() + at, data, size);
    };
    put(layout.hashes, hashes.data(), hashes.size() * sizeof(hashes[0]));
    put(layout.extensions, extensions.data(), extensions.size());
    put(layout.records, records.data(), records.size() * sizeof(RecordEntry));
    put(layout.members, members.data(), members.size() * sizeof(MemberEntry));
    put(layout.keys, keys.data(), keys.size());
    header.checksum = checksum_of(header, {bytes.data(), layout.records});
    put(0, &header, sizeof(header));
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

ShardIndex from_builder(const Builder& builder, std::int64_t shard_size, std::uint64_t shard_hash) {
  const auto bytes = std::make_shared<const std::vector<unsigned char>>(builder.encode(shard_size, shard_hash));
  auto index = ShardIndex::view(*bytes, bytes, "in memory", shard_size, shard_hash);
  if (!index) throw std::logic_error("an index that was just built does not read back");
  return std::move(*index);
}

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
  return from_builder(builder, shard.size(), shard_content_hash(shard));
}

ShardIndex ShardIndex::of_members(std::span<const TarMember> members, std::int64_t shard_size,
                                  std::uint64_t shard_hash) {
  Builder builder;
  for (const auto& member : members) builder.add(member);
  return from_builder(builder, shard_size, shard_hash);
}

std::optional<ShardIndex> ShardIndex::view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                           const std::string& name, std::int64_t shard_size, std::uint64_t shard_hash) {
  ShardIndexHeader header;
  if (bytes.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kShardMagic, sizeof(kShardMagic)) != 0 || header.version != kShardVersion)
    return std::nullopt;
  if (header.shard_size != static_cast<std::uint64_t>(shard_size) || header.shard_hash != shard_hash)
    return std::nullopt;
  if (std::max({header.records, header.members, header.key_bytes}) >= kMostCount) return std::nullopt;
  const Layout layout(header);
  if (layout.end != bytes.size() || checksum_of(header, bytes.first(layout.records)) != header.checksum)
    return std::nullopt;

  ShardIndex index;
  index.owner_ = std::move(owner);
  index.name_ = name;
  index.bytes_ = bytes;
  const auto* begin = bytes.data();
  index.block_hashes_ = {reinterpret_cast<const std::uint64_t*>(begin + layout.hashes), blocks_of(header.records)};
  index.records_ = {reinterpret_cast<const RecordEntry*>(begin + layout.records), header.records + 1};
  index.members_ = {reinterpret_cast<const MemberEntry*>(begin + layout.members), header.members};
  index.keys_ = {reinterpret_cast<const char*>(begin + layout.keys), header.key_bytes};
  std::string_view names(reinterpret_cast<const char*>(begin + layout.extensions), header.extension_bytes);
  for (auto end = names.find('\n'); end != std::string_view::npos; end = names.find('\n')) {
    index.extensions_.emplace_back(names.substr(0, end));
    names.remove_prefix(end + 1);
  }
  index.checked_ = std::vector<std::atomic<bool>>(index.block_hashes_.size());
  return index;
}

/// Bounds come first, because the hash is taken over what they enclose; then what an index of ours can still not say.
bool ShardIndex::block_is_sound(std::size_t block) const {
  const auto begin = block * kBlock, end = std::min<std::size_t>(begin + kBlock, records_.size() - 1);
  if (records_[end].first_member > members_.size() || records_[end].key_begin > keys_.size()) return false;
  for (auto i = begin; i < end; ++i) {
    if (records_[i].first_member > records_[i + 1].first_member) return false;
    if (records_[i].key_begin > records_[i + 1].key_begin) return false;
  }
  if (block_hash(records_, members_, keys_, begin, end) != block_hashes_[block]) return false;
  const auto shard_bytes = static_cast<std::uint64_t>(shard_size());
  const auto first = records_[begin].first_member;
  const auto members = members_.subspan(first, records_[end].first_member - first);
  return std::all_of(members.begin(), members.end(), [&](const MemberEntry& m) {
    return m.extension < extensions_.size() && m.data_offset <= shard_bytes && m.size <= shard_bytes - m.data_offset;
  });
}

void ShardIndex::check_block(std::size_t block) const {
  if (checked_[block].load(std::memory_order_relaxed)) return;  // the bytes are read-only: nothing to order
  if (!block_is_sound(block)) {
    throw StorageError("index file " + printable(name_) + " is damaged at its records " +
                       std::to_string(block * kBlock) +
                       " and following; remove it, it is built again at the next start");
  }
  checked_[block].store(true, std::memory_order_relaxed);
}

const RecordEntry& ShardIndex::record(std::int64_t i) const {
  const auto at = static_cast<std::size_t>(i);
  check_block(at / kBlock);
  return records_[at];
}

std::string_view ShardIndex::key(std::int64_t i) const {
  const auto begin = record(i).key_begin;
  return keys_.substr(begin, records_[static_cast<std::size_t>(i) + 1].key_begin - begin);
}

std::span<const MemberEntry> ShardIndex::members(std::int64_t i) const {
  const auto begin = record(i).first_member;
  return members_.subspan(begin, records_[static_cast<std::size_t>(i) + 1].first_member - begin);
}

std::int64_t ShardIndex::shard_size() const {
  ShardIndexHeader header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  return static_cast<std::int64_t>(header.shard_size);
}

std::uint64_t ShardIndex::fingerprint() const {
  ShardIndexHeader header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  return header.checksum;
}

}  // namespace triptych

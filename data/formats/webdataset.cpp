// A record is read with one pread where its members stand together, headers included: their hashes tell whether the
// shard is still the one that was indexed.
#include "data/formats/webdataset.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/strings.h"
#include "data/formats/class_names.h"
#include "data/formats/file_list.h"
#include "data/formats/index_file.h"
#include "data/formats/parallel_for.h"
#include "data/formats/printable.h"
#include "data/formats/record_error.h"
#include "data/formats/record_text.h"
#include "data/formats/unpacked_shard.h"

namespace triptych {
namespace {

constexpr std::array kImageExtensions = {"jpg", "jpeg", "png", "webp"};  // the first that a record has is its picture
constexpr std::uint32_t kLargestImage = 256 << 20, kLargestJson = 16 << 20, kLargestText = 1 << 20;
constexpr std::uint64_t kReadGap = 64 << 10;  // members closer than this are read in one go

/// Bytes of some members of one record, read together where they are neighbours.
class MemberBytes {
 public:
  MemberBytes(const InputFile& shard, std::vector<const MemberEntry*> members) {
    std::sort(members.begin(), members.end(),
              [](const auto* a, const auto* b) { return a->data_offset < b->data_offset; });
    for (std::size_t begin = 0; begin < members.size();) {
      auto end = begin + 1;
      const auto reach = [&](std::size_t i) { return members[i]->data_offset + members[i]->size; };
      while (end < members.size() && members[end]->data_offset <= reach(end - 1) + kReadGap) ++end;
      read(shard, members[begin]->data_offset - kTarBlock, reach(end - 1), {members.data() + begin, end - begin});
      begin = end;
    }
  }

  std::string_view of(const MemberEntry& member) const {
    for (const auto& piece : pieces_) {
      const auto end = piece.offset + piece.bytes.size();
      if (member.data_offset < piece.offset || member.data_offset + member.size > end) continue;
      const auto* begin = reinterpret_cast<const char*>(piece.bytes.data() + (member.data_offset - piece.offset));
      return {begin, member.size};
    }
    throw std::logic_error("a member that was not read");
  }

 private:
  struct Piece {
    std::uint64_t offset;
    std::vector<unsigned char> bytes;
  };

  void read(const InputFile& shard, std::uint64_t begin, std::uint64_t end,
            std::span<const MemberEntry* const> members) {
    Piece piece{begin, std::vector<unsigned char>(end - begin)};
    if (shard.read_at(static_cast<std::int64_t>(begin), piece.bytes) != piece.bytes.size()) {
      throw DataError("the shard has become shorter since it was indexed");
    }
    for (const auto* member : members) {
      const auto* header = piece.bytes.data() + (member->data_offset - begin) - kTarBlock;
      if (tar_header_hash(header) != member->header_hash) {
        throw DataError(
            "the shard has changed since it was indexed, another tar header stands here; remove its .tidx file "
            "to have it indexed again");
      }
    }
    pieces_.push_back(std::move(piece));
  }

  std::vector<Piece> pieces_;
};

class WebDataset : public Corpus {
 public:
  explicit WebDataset(const CorpusConfig& config);

  std::int64_t size() const override { return size_; }
  const std::vector<ShardSpan>& shards() const override { return spans_; }
  const ClassNames& class_names() const override { return class_names_; }
  const CorpusConfig& config() const override { return config_; }
  std::uint64_t fingerprint() const override { return fingerprint_; }
  RecordPlace place(std::int64_t index) const override;
  Record read(std::int64_t index) const override;

 private:
  struct Shard {
    std::string path;
    std::string file;                 // what is read: the path, or the unpacked copy
    std::optional<ShardIndex> index;  // always set once opened
  };
  /// One record while it is read: what its shard's index says.
  struct Found {
    const ShardIndex& index;
    std::span<const MemberEntry> members;
    const MemberEntry* member(std::string_view extension) const;
    const MemberEntry& picture() const;
  };

  void open_shards(const std::vector<std::string>& paths);
  std::pair<const Shard&, std::int64_t> locate(std::int64_t index) const;
  Record read_members(const Shard& shard, std::int64_t local) const;
  std::vector<std::string> captions(const Found& found, const MemberBytes& bytes) const;
  std::int64_t label(const Found& found, const MemberBytes& bytes) const;
  std::vector<const MemberEntry*> wanted(const Found& found) const;

  CorpusConfig config_;
  std::vector<std::string> caption_keys_;
  std::string label_key_;
  ClassNames class_names_;
  std::vector<Shard> shards_;
  std::vector<ShardSpan> spans_;
  std::int64_t size_ = 0;
  std::uint64_t fingerprint_ = 0;
  mutable OpenFiles files_{open_file_budget()};
};

WebDataset::WebDataset(const CorpusConfig& config)
    : config_(config), caption_keys_(config.captions_at()), label_key_(config.label_at()) {
  if (config.kind == "image_label") class_names_ = read_class_names(config.class_names);
  open_shards(list_files("path", config.path));
  Xxh64 hash;
  hash.add(config.kind).add(label_key_);
  for (const auto& key : caption_keys_) hash.add(key).add("\n");
  for (const auto& names : class_names_) {
    for (const auto& name : names) hash.add(name).add("|");
    hash.add("\n");
  }
  for (const auto& shard : shards_) {
    const auto part = shard.index->fingerprint();
    hash.add(std::filesystem::path(shard.path).filename().string()).add(&part, sizeof(part));
    spans_.push_back({size_, shard.index->size()});
    size_ += shard.index->size();
  }
  fingerprint_ = hash.value();
  if (size_ == 0) throw ConfigError("path: '" + printable(config.path) + "': the shards hold no record");
}

void WebDataset::open_shards(const std::vector<std::string>& paths) {
  IndexNotes notes(paths.size());
  shards_.resize(paths.size());
  const auto threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 8U));
  parallel_for(static_cast<std::int64_t>(paths.size()), threads, [&](std::int64_t n) {
    const auto i = static_cast<std::size_t>(n);
    const InputFile shard(paths[i]);
    const auto copy = unpacked_shard(shard, config_.index_dir);
    const auto file = copy.empty() ? paths[i] : copy;
    // The index of a copy stands beside it, wherever that is.
    auto opened = copy.empty() ? open_index(shard, config_.index_dir) : open_index(InputFile(file), "");
    notes.set(i, opened);
    shards_[i] = {paths[i], file, std::move(opened.index)};
  });
  notes.report(config_.name, config_.index_dir);
}

std::pair<const WebDataset::Shard&, std::int64_t> WebDataset::locate(std::int64_t index) const {
  if (index < 0 || index >= size_) throw std::out_of_range("record " + std::to_string(index) + " of " + config_.name);
  const auto after = std::upper_bound(spans_.begin(), spans_.end(), index,
                                      [](std::int64_t i, const ShardSpan& span) { return i < span.first; });
  const auto shard = static_cast<std::size_t>(after - spans_.begin()) - 1;
  return {shards_[shard], index - spans_[shard].first};
}

RecordPlace WebDataset::place(std::int64_t index) const {
  const auto [shard, local] = locate(index);
  return {shard.path, std::string(shard.index->key(local)),
          static_cast<std::int64_t>(shard.index->record(local).offset)};
}

Record WebDataset::read(std::int64_t index) const {
  const auto [shard, local] = locate(index);
  try {
    auto record = read_members(shard, local);
    record.place = place(index);
    return record;
  } catch (const DataError& error) {
    throw RecordError(place(index), error.what());
  }
}

const MemberEntry* WebDataset::Found::member(std::string_view extension) const {
  for (const auto& entry : members) {
    if (index.extensions()[entry.extension] == extension) return &entry;
  }
  return nullptr;
}

const MemberEntry& WebDataset::Found::picture() const {
  for (const auto* extension : kImageExtensions) {
    if (const auto* entry = member(extension)) return *entry;
  }
  throw DataError("no picture: a .jpg, .jpeg, .png or .webp member is expected");
}

/// The members that read() needs: the picture, those that hold captions or the label, .json for keys that are no
/// member.
std::vector<const MemberEntry*> WebDataset::wanted(const Found& found) const {
  std::vector<const MemberEntry*> members = {&found.picture()};
  const bool has_captions = config_.kind == "image_text";
  const auto keys = has_captions ? caption_keys_ : std::vector<std::string>{label_key_};
  bool json = false;
  for (const auto& key : keys) {
    const auto* member = key == "json" ? nullptr : found.member(key);
    if (member) members.push_back(member);
    json |= member == nullptr;
  }
  const auto* object = found.member("json");
  if (json && object) members.push_back(object);
  for (const auto* member : members) {
    const auto limit = member == members.front() ? kLargestImage : member == object ? kLargestJson : kLargestText;
    const auto name = "." + found.index.extensions()[member->extension] + ": ";
    if (member->damage != 0) throw DataError(name + damage_text(static_cast<Damage>(member->damage)));
    if (member->size > limit) throw DataError(name + std::to_string(member->size) + " bytes are too many");
    const bool caption = has_captions && member != members.front() && member != object;
    if (member->size == 0 && !caption) throw DataError(name + "the member is empty");
  }
  return members;
}

std::vector<std::string> WebDataset::captions(const Found& found, const MemberBytes& bytes) const {
  std::vector<std::string> captions;
  std::optional<nlohmann::json> object;
  for (const auto& key : caption_keys_) {
    if (const auto* member = key == "json" ? nullptr : found.member(key)) {
      if (!is_empty_caption(bytes.of(*member))) captions.push_back(clean_caption(bytes.of(*member)));
    } else if (const auto* json = found.member("json")) {
      if (!object) object = parse_object(bytes.of(*json));
      for (auto& caption : json_captions(*object, key)) captions.push_back(std::move(caption));
    }
  }
  if (!captions.empty()) return captions;
  throw DataError("no caption: members or JSON keys " + join(caption_keys_, ", ") + " absent or empty");
}

std::int64_t WebDataset::label(const Found& found, const MemberBytes& bytes) const {
  const auto classes = static_cast<std::int64_t>(class_names_.size());
  if (const auto* member = found.member(label_key_)) return parse_label(bytes.of(*member), classes);
  const auto* json = found.member("json");
  if (!json) throw DataError("no label: neither a ." + label_key_ + " nor a .json member");
  return json_label(parse_object(bytes.of(*json)), label_key_, classes);
}

Record WebDataset::read_members(const Shard& shard, std::int64_t local) const {
  const auto damage = static_cast<Damage>(shard.index->record(local).damage);
  if (damage != Damage::kNone) throw DataError(damage_text(damage));
  const Found found{*shard.index, shard.index->members(local)};
  const auto members = wanted(found);
  const auto file = files_.open(shard.file);
  if (file->size() != shard.index->shard_size()) {
    throw DataError("the shard has " + std::to_string(file->size()) + " bytes, but had " +
                    std::to_string(shard.index->shard_size()) + " when it was indexed");
  }
  const MemberBytes bytes(*file, members);
  Record record;
  if (config_.kind == "image_text") {
    record.captions = captions(found, bytes);
  } else {
    record.label = label(found, bytes);
  }
  const auto picture = bytes.of(found.picture());
  record.image.assign(picture.begin(), picture.end());
  return record;
}

}  // namespace

std::unique_ptr<Corpus> open_webdataset(const CorpusConfig& config) {
  return std::make_unique<WebDataset>(config);
}

}  // namespace triptych

// Building an index from a pass over the shard, and reading one from bytes that may be anything.
#include "data/formats/row_index.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

constexpr char kRowMagic[8] = {'T', 'R', 'I', 'P', 'T', 'R', 'O', 'W'};
constexpr std::uint32_t kRowVersion = 2;
constexpr std::int64_t kRowsALine = 256;  // rows between two line numbers
constexpr std::size_t kMostLabelBytes = 64 << 20;

/// Start of an index file; behind it the begins of all rows and the end of the last, the line numbers, the labels (each
/// ended by a newline, padded to 8 bytes).
struct RowIndexHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t rule;
  std::uint64_t shard_size;
  std::uint64_t shard_hash;
  std::uint64_t rows;
  std::uint64_t label_bytes;
  std::uint64_t settings;
  std::uint64_t content_hash;  ///< xxh64 of the whole shard
  std::int64_t modified;       ///< of the shard, in ns since 1970
  std::uint64_t checksum;      ///< xxh64 of the whole file with this field zero
};
static_assert(sizeof(RowIndexHeader) == 80);

RowIndexHeader header_of(std::span<const unsigned char> index) {
  RowIndexHeader header;
  std::memcpy(&header, index.data(), sizeof(header));
  return header;
}

/// The different labels of a shard; rows that have none are bad records when they are read.
class LabelSet {
 public:
  LabelSet(const InputFile& shard, RowRule rule, const LabelOfRow& labels)
      : shard_(shard), rule_(rule), labels_(labels) {}

  void add(const RowSpan& row) {
    if (!labels_.label || row.end - row.begin > kLongestRow) return;
    text_.resize(static_cast<std::size_t>(row.end - row.begin));
    const auto got = shard_.read_at(row.begin, {reinterpret_cast<unsigned char*>(text_.data()), text_.size()});
    try {
      auto label = labels_.label(trim_row(std::string_view(text_).substr(0, got), rule_));
      const auto length = label.size() + 1;
      if (found_.insert(std::move(label)).second) bytes_ += length;
    } catch (const DataError&) {
      return;  // reported by the record
    }
    if (found_.size() > kMostLabels || bytes_ > kMostLabelBytes) {
      throw DataError(printable(shard_.path()) + " has more than " + std::to_string(kMostLabels) +
                      " different labels; does label_key name the right column? A list in class_names is not limited");
    }
  }
  std::string text() const {
    std::string text;
    for (const auto& label : found_) text += label + "\n";
    return text;
  }

 private:
  const InputFile& shard_;
  RowRule rule_;
  const LabelOfRow& labels_;
  std::string text_;
  std::set<std::string> found_;
  std::size_t bytes_ = 0;
};

}  // namespace

RowIndex RowIndex::build(const InputFile& shard, RowRule rule, const LabelOfRow& labels) {
  std::vector<std::uint64_t> begins, lines;
  LabelSet found(shard, rule, labels);
  std::int64_t end = 0, header_rows = rule.kind == RowRule::Kind::kCsv ? 1 : 0;
  const auto content_hash = scan_rows(shard, rule, [&](const RowSpan& row) {
    if (begins.size() % kRowsALine == 0) lines.push_back(static_cast<std::uint64_t>(row.line));
    begins.push_back(static_cast<std::uint64_t>(row.begin));
    if (static_cast<std::int64_t>(begins.size()) > header_rows) found.add(row);
    end = row.end;
  });
  const auto rows = begins.size();
  begins.push_back(static_cast<std::uint64_t>(end));
  auto names = found.text();
  RowIndexHeader header{};
  std::memcpy(header.magic, kRowMagic, sizeof(kRowMagic));
  header.version = kRowVersion;
  header.rule = rule.number();
  header.shard_size = static_cast<std::uint64_t>(shard.size());
  header.shard_hash = shard_content_hash(shard);
  header.rows = rows;
  header.label_bytes = names.size();
  header.settings = labels.settings;
  header.content_hash = content_hash;
  header.modified = shard.modified();
  names.resize(padded8(names.size()));
  const auto bytes = std::make_shared<std::vector<unsigned char>>();
  const auto append = [&](const void* data, std::size_t size) {
    const auto* from = static_cast<const unsigned char*>(data);
    bytes->insert(bytes->end(), from, from + size);
  };
  bytes->reserve(sizeof(header) + (begins.size() + lines.size()) * 8 + names.size());
  append(&header, sizeof(header));
  append(begins.data(), begins.size() * 8);
  append(lines.data(), lines.size() * 8);
  append(names.data(), names.size());
  header.checksum = index_checksum<RowIndexHeader>(*bytes);
  std::memcpy(bytes->data(), &header, sizeof(header));
  auto index = view(*bytes, bytes, shard, header.shard_hash, rule, labels);
  if (!index) throw std::logic_error("an index that was just built does not read back");
  return std::move(*index);
}

std::optional<RowIndex> RowIndex::view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                       const InputFile& shard, std::uint64_t shard_hash, RowRule rule,
                                       const LabelOfRow& labels) {
  if (bytes.size() < sizeof(RowIndexHeader)) return std::nullopt;
  const auto header = header_of(bytes);
  if (std::memcmp(header.magic, kRowMagic, sizeof(kRowMagic)) != 0 || header.version != kRowVersion)
    return std::nullopt;
  if (header.rule != rule.number() || header.settings != labels.settings) return std::nullopt;
  if (header.shard_size != static_cast<std::uint64_t>(shard.size()) || header.shard_hash != shard_hash)
    return std::nullopt;
  // Reading the shard tells whether it was edited or only copied.
  if (header.modified != shard.modified()) return std::nullopt;
  const std::uint64_t limit = bytes.size();  // each count is checked before it is multiplied
  if (header.rows >= limit || header.label_bytes >= limit) return std::nullopt;
  const auto line_count = (header.rows + kRowsALine - 1) / kRowsALine;
  const auto lines_at = sizeof(header) + (header.rows + 1) * 8, labels_at = lines_at + line_count * 8;
  if (labels_at + padded8(header.label_bytes) != limit || index_checksum<RowIndexHeader>(bytes) != header.checksum)
    return std::nullopt;

  RowIndex index;
  index.owner_ = std::move(owner);
  index.bytes_ = bytes;
  index.begins_ = {reinterpret_cast<const std::uint64_t*>(bytes.data() + sizeof(header)), header.rows + 1};
  index.lines_ = {reinterpret_cast<const std::uint64_t*>(bytes.data() + lines_at), line_count};
  const bool sorted = std::is_sorted(index.begins_.begin(), index.begins_.end());
  if (!sorted || index.begins_.back() > header.shard_size) return std::nullopt;
  std::string_view names(reinterpret_cast<const char*>(bytes.data() + labels_at), header.label_bytes);
  for (auto end = names.find('\n'); end != std::string_view::npos; end = names.find('\n')) {
    index.labels_.emplace_back(names.substr(0, end));
    names.remove_prefix(end + 1);
  }
  return index;
}

std::int64_t RowIndex::line(const InputFile& shard, std::int64_t row) const {
  const auto known = row / kRowsALine;
  auto line = static_cast<std::int64_t>(lines_[static_cast<std::size_t>(known)]);
  std::vector<unsigned char> piece(64 << 10);
  for (auto at = begin(known * kRowsALine); at < begin(row);) {
    const auto wanted = std::min<std::int64_t>(static_cast<std::int64_t>(piece.size()), begin(row) - at);
    const auto got = shard.read_at(at, {piece.data(), static_cast<std::size_t>(wanted)});
    if (got == 0) break;
    line += std::count(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got), '\n');
    at += static_cast<std::int64_t>(got);
  }
  return line;
}

std::int64_t RowIndex::shard_size() const {
  return static_cast<std::int64_t>(header_of(bytes_).shard_size);
}

std::uint64_t RowIndex::fingerprint() const {
  const auto header = header_of(bytes_);
  const std::uint64_t parts[] = {header.rule, header.shard_size, header.content_hash, header.rows, header.settings};
  return xxh64(parts, sizeof(parts));
}

Opened<RowIndex> open_row_index(const InputFile& shard, const std::string& index_dir, RowRule rule,
                                const LabelOfRow& labels) {
  const auto hash = shard_content_hash(shard);
  // Of its own where labels were collected: an index without them may serve another corpus of the same file.
  const auto path = index_path(shard.path(), index_dir, labels.label ? ".labels.tidx" : ".tidx");
  return open_index_file<RowIndex>(
      shard, path, [&](auto bytes, auto owner) { return RowIndex::view(bytes, owner, shard, hash, rule, labels); },
      [&] { return RowIndex::build(shard, rule, labels); });
}

std::string read_row(const InputFile& shard, const RowIndex& index, RowRule rule, std::int64_t row,
                     std::int64_t limit) {
  if (shard.size() != index.shard_size()) {
    throw DataError("the file has " + std::to_string(shard.size()) + " bytes, but had " +
                    std::to_string(index.shard_size()) + " when it was indexed");
  }
  const auto length = index.end(row) - index.begin(row);
  if (length > limit) {
    throw DataError("the row has " + std::to_string(length) + " bytes; at most " + std::to_string(limit) + " are read");
  }
  // With the byte before it: rows of lines begin behind a newline.
  const bool lines = rule.kind != RowRule::Kind::kJson;
  const std::int64_t before = lines && row > 0 ? 1 : 0;
  std::string text(static_cast<std::size_t>(length + before), '\0');
  const auto got =
      shard.read_at(index.begin(row) - before, {reinterpret_cast<unsigned char*>(text.data()), text.size()});
  if (got != text.size()) throw DataError("the file has become shorter since it was indexed");
  const auto trimmed = trim_row(std::string_view(text).substr(static_cast<std::size_t>(before)), rule);
  const bool one_line = rule.kind == RowRule::Kind::kLines || rule.kind == RowRule::Kind::kFilledLines;
  const bool moved = (before == 1 && text[0] != '\n') || (one_line && trimmed.find('\n') != std::string_view::npos);
  if (moved) {
    throw DataError(
        "the file has changed since it was indexed, no row begins here; remove its .tidx file to have it "
        "indexed again");
  }
  text.resize(static_cast<std::size_t>(before) + trimmed.size());
  text.erase(0, static_cast<std::size_t>(before));
  return text;
}

}  // namespace triptych

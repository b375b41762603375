// From rows to records.
#include "data/formats/table_corpus.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/base/errors.h"
#include "data/formats/class_names.h"
#include "data/formats/parallel_for.h"
#include "data/formats/printable.h"
#include "data/formats/record_error.h"
#include "data/formats/record_text.h"

namespace triptych {
namespace {

bool is_index(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// "-1" and "1.0" too: nobody calls a class so.
bool looks_like_number(std::string_view text) {
  return text.find_first_not_of("0123456789+-.eE") == std::string_view::npos &&
         text.find_first_of("0123456789") != std::string_view::npos;
}

/// Which class a label means: an index or a name of the list in class_names; a name that stands in the data otherwise.
class LabelNames {
 public:
  /// From a file.
  void read(const std::string& path) {
    listed_ = true;
    names_ = read_class_names(path);
    for (std::size_t i = 0; i < names_.size(); ++i) {
      for (const auto& name : names_[i]) ids_.emplace(normalized_name(name), static_cast<std::int64_t>(i));
    }
  }
  /// From the rows: one class for all spellings that are equal after normalisation.
  void collect(const std::set<std::string>& labels) {
    for (const auto& label : labels) {
      if (looks_like_number(label)) {
        throw ConfigError("class_names: is not given, and the label '" + label +
                          "' is a number; name the file that lists the classes, one a line");
      }
      if (ids_.emplace(normalized_name(label), static_cast<std::int64_t>(names_.size())).second) {
        names_.push_back({label});
      }
    }
  }
  std::int64_t find(const std::string& label) const {
    const auto classes = static_cast<std::int64_t>(names_.size());
    if (listed_ && is_index(label)) return parse_label(label, classes);
    const auto found = ids_.find(normalized_name(label));
    if (found != ids_.end()) return found->second;
    throw DataError("label '" + printable(label) + "' is neither a class index, 0 to " + std::to_string(classes - 1) +
                    ", nor the name of a class");
  }
  const ClassNames& names() const { return names_; }

 private:
  bool listed_ = false;
  ClassNames names_;
  std::unordered_map<std::string, std::int64_t> ids_;  // by normalised name
};

class TableCorpus : public Corpus {
 public:
  TableCorpus(const CorpusConfig& config, std::unique_ptr<TableFormat> format);

  std::int64_t size() const override { return size_; }
  const std::vector<ShardSpan>& shards() const override { return spans_; }
  const ClassNames& class_names() const override { return labels_.names(); }
  const CorpusConfig& config() const override { return config_; }
  std::uint64_t fingerprint() const override { return fingerprint_; }
  RecordPlace place(std::int64_t index) const override;
  Record read(std::int64_t index) const override;

 private:
  /// Where a record is: a row of a shard's table, header rows counted.
  struct Spot {
    std::size_t shard;
    std::int64_t row;
  };

  bool collects_labels() const { return config_.kind == "image_label" && config_.class_names.empty(); }
  void open_shards();
  void take_labels();
  void take_spans();
  Spot locate(std::int64_t index) const;
  Record read_at(const Spot& spot) const;
  RecordPlace exact_place(std::int64_t index) const;

  CorpusConfig config_;
  std::unique_ptr<TableFormat> format_;
  std::vector<std::optional<RowIndex>> indexes_;  // always set once opened
  LabelNames labels_;
  std::vector<ShardSpan> spans_;
  std::int64_t size_ = 0;
  std::uint64_t fingerprint_ = 0;
  mutable OpenFiles files_{open_file_budget()};
};

TableCorpus::TableCorpus(const CorpusConfig& config, std::unique_ptr<TableFormat> format)
    : config_(config), format_(std::move(format)) {
  if (!config.class_names.empty()) labels_.read(config.class_names);
  open_shards();
  take_spans();
  if (size_ == 0) throw ConfigError("path: '" + printable(config.path) + "': the files hold no record");
  if (collects_labels()) take_labels();
  Xxh64 hash;
  hash.add(config.format).add(config.kind);
  format_->add_to_fingerprint(hash);
  for (const auto& names : class_names()) {
    for (const auto& name : names) hash.add(name).add("|");
    hash.add("\n");
  }
  for (std::size_t i = 0; i < indexes_.size(); ++i) {
    const auto part = indexes_[i]->fingerprint();
    hash.add(std::filesystem::path(format_->tables()[i]).filename().string()).add(&part, sizeof(part));
  }
  fingerprint_ = hash.value();
}

void TableCorpus::open_shards() {
  const auto& paths = format_->tables();
  IndexNotes notes(paths.size());
  indexes_.resize(paths.size());
  const auto threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 8U));
  parallel_for(static_cast<std::int64_t>(paths.size()), threads, [&](std::int64_t n) {
    const auto shard = static_cast<std::size_t>(n);
    const InputFile file(paths[shard]);
    format_->add_shard(shard, file, notes);
    LabelOfRow labels;
    if (collects_labels()) {
      labels.label = [&](std::string_view row) { return format_->parse(shard, row).label; };
      labels.settings = xxh64(config_.format + "\n" + config_.label_at());
    }
    auto opened = open_row_index(file, config_.index_dir, format_->rule(), labels);
    notes.set(shard, opened);
    format_->table_opened(shard, opened.index);
    indexes_[shard] = std::move(opened.index);
  });
  notes.report(config_.name, config_.index_dir);
}

void TableCorpus::take_spans() {
  for (std::size_t shard = 0; shard < indexes_.size(); ++shard) {
    const auto rows = std::max<std::int64_t>(indexes_[shard]->size() - format_->header_rows(), 0);
    const auto count = rows + format_->rows_without_text(shard, rows);
    spans_.push_back({size_, count});
    size_ += count;
  }
}

void TableCorpus::take_labels() {
  std::set<std::string> all;
  for (const auto& index : indexes_) all.insert(index->labels().begin(), index->labels().end());
  if (all.empty()) {
    throw ConfigError("label_key: no row has a class under '" + config_.label_at() +
                      "'; name another key, or a file in "
                      "class_names");
  }
  labels_.collect(all);
}

TableCorpus::Spot TableCorpus::locate(std::int64_t index) const {
  if (index < 0 || index >= size_) throw std::out_of_range("record " + std::to_string(index) + " of " + config_.name);
  const auto after = std::upper_bound(spans_.begin(), spans_.end(), index,
                                      [](std::int64_t i, const ShardSpan& span) { return i < span.first; });
  const auto shard = static_cast<std::size_t>(after - spans_.begin()) - 1;
  return {shard, index - spans_[shard].first + format_->header_rows()};
}

RecordPlace TableCorpus::place(std::int64_t index) const {
  const auto [shard, row] = locate(index);
  const auto& rows = *indexes_[shard];
  return {format_->tables()[shard], "row " + std::to_string(row + 1 - format_->header_rows()),
          rows.begin(std::min(row, rows.size()))};
}

/// With the line: it costs a read, so only errors know it.
RecordPlace TableCorpus::exact_place(std::int64_t index) const {
  auto where = place(index);
  const auto [shard, row] = locate(index);
  if (row >= indexes_[shard]->size()) return where;
  try {
    const auto file = files_.open(where.shard);
    where.key += ", line " + std::to_string(indexes_[shard]->line(*file, row));
  } catch (const DataError&) {  // the file is gone: the error says so
  }
  return where;
}

Record TableCorpus::read(std::int64_t index) const {
  try {
    auto record = read_at(locate(index));
    record.place = place(index);
    return record;
  } catch (const DataError& error) {
    throw RecordError(exact_place(index), error.what());
  }
}

Record TableCorpus::read_at(const Spot& spot) const {
  const auto& rows = *indexes_[spot.shard];
  if (spot.row >= rows.size()) {
    throw DataError("the table ends after " + std::to_string(rows.size() - format_->header_rows()) +
                    " rows, its image shard has more");
  }
  const auto file = files_.open(format_->tables()[spot.shard]);
  auto fields = format_->parse(spot.shard, read_row(*file, rows, format_->rule(), spot.row, kLongestRow));
  Record record;
  if (config_.kind == "image_label") record.label = labels_.find(fields.label);
  record.image = format_->picture(spot.shard, spot.row, fields);
  if (record.image.empty()) throw DataError("the picture is empty");
  record.captions = std::move(fields.captions);
  return record;
}

}  // namespace

std::unique_ptr<Corpus> make_table_corpus(const CorpusConfig& config, std::unique_ptr<TableFormat> format) {
  return std::make_unique<TableCorpus>(config, std::move(format));
}

}  // namespace triptych

// The header names the columns; every row must have as many fields.
#include "data/formats/csv_table.h"

#include <algorithm>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "data/formats/csv_row.h"
#include "data/formats/file_list.h"
#include "data/formats/picture_file.h"
#include "data/formats/printable.h"
#include "data/formats/record_text.h"
#include "data/formats/table_corpus.h"

namespace triptych {
namespace {

constexpr std::int64_t kLongestHeader = 64 << 10;

/// Where the header of one file has what is read.
struct Columns {
  std::size_t count = 0, image = 0, label = 0;
  std::vector<std::size_t> captions;
};

std::string text_of(const InputFile& file, std::int64_t begin, std::int64_t length) {
  std::string text(static_cast<std::size_t>(length), '\0');
  text.resize(file.read_at(begin, {reinterpret_cast<unsigned char*>(text.data()), text.size()}));
  return text;
}

/// Gives the error of one field its column.
template <class Action>
auto in_column(std::size_t column, const std::string& name, Action&& action) {
  try {
    return action();
  } catch (const DataError& error) {
    throw DataError("column " + std::to_string(column + 1) + " (" + name + "): " + error.what());
  }
}

class CsvTable : public TableFormat {
 public:
  explicit CsvTable(const CorpusConfig& config)
      : config_(config), tables_(list_files("path", config.path)), columns_(tables_.size()) {
    if (!config.delimiter.empty()) rule_.delimiter = config.delimiter[0];
    rule_.quotes = config.quotes == "rfc4180";
  }

  const std::vector<std::string>& tables() const override { return tables_; }
  RowRule rule() const override { return rule_; }
  std::int64_t header_rows() const override { return 1; }

  void add_shard(std::size_t shard, const InputFile& file, IndexNotes&) override {
    auto text = text_of(file, 0, std::min(file.size(), kLongestHeader));
    if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    text.erase(0, text.find_first_not_of("\r\n"));
    const auto header = split_header(text, file.path());
    if (!is_utf8(join(header, ""))) fail(file.path(), "the header is not UTF-8; is this a CSV file?");
    auto& columns = columns_[shard];
    columns.count = header.size();
    columns.image = find(header, config_.image_at(), "image_key", file.path());
    if (config_.kind == "image_label") {
      columns.label = find(header, config_.label_at(), "label_key", file.path());
      return;
    }
    for (const auto& key : config_.captions_at()) {
      columns.captions.push_back(find(header, key, "caption_keys", file.path()));
    }
  }

  TableRow parse(std::size_t shard, std::string_view row) const override {
    const auto& columns = columns_[shard];
    auto fields = split_csv_row(row, rule_.delimiter, rule_.quotes);
    if (fields.size() != columns.count) {
      throw DataError("the row has " + std::to_string(fields.size()) + " columns, the header " +
                      std::to_string(columns.count));
    }
    TableRow parsed;
    parsed.picture = std::move(fields[columns.image]);
    if (config_.kind == "image_label") {
      parsed.label = in_column(columns.label, config_.label_at(), [&] { return clean_label(fields[columns.label]); });
      return parsed;
    }
    const auto keys = config_.captions_at();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto& text = fields[columns.captions[i]];
      if (is_empty_caption(text)) continue;  // tables are often not full
      parsed.captions.push_back(in_column(columns.captions[i], keys[i], [&] { return clean_caption(text); }));
    }
    if (parsed.captions.empty()) throw DataError("no caption: " + join(keys, ", ") + " are empty");
    return parsed;
  }

  std::vector<unsigned char> picture(std::size_t shard, std::int64_t, const TableRow& fields) const override {
    return in_column(columns_[shard].image, config_.image_at(),
                     [&] { return read_picture(picture_path(tables_[shard], fields.picture)); });
  }

  void add_to_fingerprint(Xxh64& hash) const override {
    hash.add(config_.image_at()).add("\n").add(config_.label_at()).add("\n").add(join(config_.captions_at(), "\n"));
  }

 private:
  [[noreturn]] static void fail(const std::string& path, const std::string& what) {
    throw ConfigError("path: " + printable(path) + ": " + what);
  }

  std::vector<std::string> split_header(std::string_view text, const std::string& path) const {
    bool quoted = false;
    std::size_t end = 0;
    for (; end < text.size() && (quoted || text[end] != '\n'); ++end) quoted ^= rule_.quotes && text[end] == '"';
    if (end == text.size() && static_cast<std::int64_t>(end) >= kLongestHeader) {
      fail(path, "the header is longer than 64 KiB; is this a CSV file?");
    }
    try {
      auto header = split_csv_row(trim_row(text.substr(0, end), rule_), rule_.delimiter, rule_.quotes);
      if (header == std::vector<std::string>{""}) fail(path, "is empty; a header row with the columns is expected");
      return header;
    } catch (const DataError& error) {
      fail(path, std::string("the header: ") + error.what());
    }
  }

  static std::size_t find(const std::vector<std::string>& header, const std::string& name, const std::string& key,
                          const std::string& path) {
    const auto count = std::count(header.begin(), header.end(), name);
    if (count == 1) return static_cast<std::size_t>(std::find(header.begin(), header.end(), name) - header.begin());
    throw ConfigError(key + ": " + printable(path) + ":1 has " +
                      (count == 0 ? "no column '" : std::to_string(count) + " columns '") + printable(name) +
                      "'; its columns: " + printable(join(header, ", ")));
  }

  CorpusConfig config_;
  std::vector<std::string> tables_;
  std::vector<Columns> columns_;
  RowRule rule_{RowRule::Kind::kCsv, ','};
};

}  // namespace

std::unique_ptr<Corpus> open_csv_table(const CorpusConfig& config) {
  return make_table_corpus(config, std::make_unique<CsvTable>(config));
}

}  // namespace triptych

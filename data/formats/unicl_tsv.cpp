// Row i of a text shard, "ID <tab> JSON", belongs to row i of its image shard, "ID <tab> BASE64".
//
// The `.lineidx` file that such shards have (byte offset of every row, one a line) is not what rows are found by: the
// released writer counts characters, so it is wrong behind the first caption that is not ASCII. Where it is absent or
// wrong, a right one is written for other readers of the shards.
#include "data/formats/unicl_tsv.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/base/errors.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "data/formats/base64.h"
#include "data/formats/file_list.h"
#include "data/formats/printable.h"
#include "data/formats/record_text.h"
#include "data/formats/table_corpus.h"

namespace triptych {
namespace {

constexpr std::int64_t kLongestImageRow = kLargestPicture / 3 * 4 + kLongestRow;

/// "ID <tab> REST". Throws DataError unless there are two columns.
std::pair<std::string_view, std::string_view> split_pair(std::string_view row, const char* file) {
  const auto tab = row.find('\t');
  const bool two = tab != std::string_view::npos && row.find('\t', tab + 1) == std::string_view::npos;
  if (!two) {
    throw DataError(std::string("the row of the ") + file + " shard has " +
                    (tab == std::string_view::npos ? "one column" : "more than two columns") +
                    "; two, separated by a tab, are expected");
  }
  return {row.substr(0, tab), row.substr(tab + 1)};
}

std::string line_of(std::int64_t offset) {
  return std::to_string(offset) + "\n";
}

std::string lineidx_text(const RowIndex& rows) {
  std::string text;
  for (std::int64_t row = 0; row < rows.size(); ++row) text += line_of(rows.begin(row));
  return text;
}

/// The length of lineidx_text() without making it: offsets grow, so those of more than k digits are the last ones.
std::int64_t lineidx_size(const RowIndex& rows) {
  std::int64_t size = 2 * rows.size();  // one digit and the line end
  for (std::int64_t power = 10; rows.size() > 0 && power <= rows.begin(rows.size() - 1); power *= 10) {
    std::int64_t below = 0, above = rows.size();  // rows before `below` begin before `power`, those from `above` do not
    while (below < above) {
      const auto middle = below + (above - below) / 2;
      if (rows.begin(middle) < power) {
        below = middle + 1;
      } else {
        above = middle;
      }
    }
    size += rows.size() - below;
  }
  return size;
}

/// By length, first and last offset: offsets that count characters are too small at the end.
bool lineidx_fits(const std::string& path, const RowIndex& rows) {
  const InputFile file(path);
  if (file.size() != lineidx_size(rows)) return false;
  if (rows.size() == 0) return true;
  const auto stands_at = [&](std::int64_t offset, const std::string& text) {
    std::string found(text.size(), '\0');
    return file.read_at(offset, {reinterpret_cast<unsigned char*>(found.data()), found.size()}) == text.size() &&
           found == text;
  };
  const auto first = line_of(rows.begin(0)), last = line_of(rows.begin(rows.size() - 1));
  return stands_at(0, first) && stands_at(file.size() - static_cast<std::int64_t>(last.size()), last);
}

enum class Lineidx { kAbsent, kRight, kWrong };

Lineidx check_lineidx(const std::string& path, const RowIndex& rows) {
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return Lineidx::kAbsent;
  try {
    return lineidx_fits(path, rows) ? Lineidx::kRight : Lineidx::kWrong;
  } catch (const DataError&) {  // cannot be read
    return Lineidx::kWrong;
  }
}

std::string lineidx_path(const std::string& shard) {
  return std::filesystem::path(shard).replace_extension(".lineidx").string();
}

constexpr const char* kWrongLineidx =
    " does not hold the byte offsets of its shard (writers that count characters make such files)";

/// Replaces SHARD.lineidx when it is not what the rows say; returns why it could not be written, or nothing.
std::string mend_lineidx(const std::string& shard, const RowIndex& rows) {
  const auto path = lineidx_path(shard);
  const auto found = check_lineidx(path, rows);
  if (found == Lineidx::kRight) return {};
  const auto text = lineidx_text(rows);
  const auto error = write_index_file(path, {reinterpret_cast<const unsigned char*>(text.data()), text.size()});
  if (error.empty() && found == Lineidx::kWrong) log_warning(printable(path) + kWrongLineidx + "; it was written anew");
  return error;
}

/// Where nothing is written beside the shards.
void warn_of_lineidx(const std::string& shard, const RowIndex& rows) {
  const auto path = lineidx_path(shard);
  if (check_lineidx(path, rows) != Lineidx::kWrong) return;
  log_warning(printable(path) + kWrongLineidx +
              " and is not used; for other readers have it written anew: run `triptych data index` once with an entry "
              "that has no "
              "index_dir");
}

class UniclTsv : public TableFormat {
 public:
  explicit UniclTsv(const CorpusConfig& config)
      : config_(config),
        texts_(list_files("path", config.path)),
        images_(list_files("images", config.images)),
        image_rows_(images_.size()) {
    if (texts_.size() != images_.size()) {
      throw ConfigError("images: names " + std::to_string(images_.size()) + " shards for the " +
                        std::to_string(texts_.size()) + " of path; one for each, in the same order, is expected");
    }
  }

  const std::vector<std::string>& tables() const override { return texts_; }
  RowRule rule() const override { return kLines; }

  void add_shard(std::size_t shard, const InputFile&, IndexNotes& notes) override {
    const InputFile images(images_[shard]);
    auto opened = open_row_index(images, config_.index_dir, kLines);
    notes.set(shard, opened);
    see_to_lineidx(images.path(), opened.index);
    image_rows_[shard] = std::move(opened.index);
  }

  void table_opened(std::size_t shard, const RowIndex& rows) const override { see_to_lineidx(texts_[shard], rows); }

  TableRow parse(std::size_t, std::string_view row) const override {
    const auto [id, json] = split_pair(row, "text");
    const auto object = parse_object(json, "column 2");
    TableRow parsed;
    parsed.picture = id;
    if (config_.kind == "image_label") {
      parsed.label = json_label_text(object, label_key_of(object));
    } else {
      parsed.captions = all_captions(object, config_.captions_at());
    }
    return parsed;
  }

  std::vector<unsigned char> picture(std::size_t shard, std::int64_t row, const TableRow& fields) const override {
    const auto& rows = *image_rows_[shard];
    const auto& path = images_[shard];
    try {
      if (row >= rows.size()) throw DataError("the image shard ends after " + std::to_string(rows.size()) + " rows");
      const auto text = read_row(*files_.open(path), rows, kLines, row, kLongestImageRow);
      const auto [id, base64] = split_pair(text, "image");
      if (id != fields.picture) {
        throw DataError("the picture's id is '" + printable(id) + "', the text's '" + printable(fields.picture) +
                        "'; rows must stand in the same order in both shards");
      }
      return decode_base64(base64);
    } catch (const DataError& error) {
      throw DataError(printable(path) + ":" + std::to_string(row + 1) + ": " + error.what());
    }
  }

  std::int64_t rows_without_text(std::size_t shard, std::int64_t rows) const override {
    return std::max<std::int64_t>(image_rows_[shard]->size() - rows, 0);
  }

  void add_to_fingerprint(Xxh64& hash) const override {
    hash.add(config_.label_at()).add("\n").add(join(config_.captions_at(), "\n"));
    for (std::size_t i = 0; i < images_.size(); ++i) {
      const auto part = image_rows_[i]->fingerprint();
      hash.add(std::filesystem::path(images_[i]).filename().string()).add(&part, sizeof(part));
    }
  }

 private:
  /// `class_name`, or `class` in a row that has only that; a key that the configuration names is that key alone.
  std::string label_key_of(const nlohmann::json& object) const {
    const auto key = config_.label_at();
    const bool other = config_.label_key.empty() && !object.contains(key) && object.contains("class");
    return other ? "class" : key;
  }

  /// With an index_dir nothing is written beside shards. A folder that cannot be written is said once and left as it
  /// is: only other readers need the file.
  void see_to_lineidx(const std::string& shard, const RowIndex& rows) const {
    if (!config_.index_dir.empty()) return warn_of_lineidx(shard, rows);
    const auto error = mend_lineidx(shard, rows);
    if (error.empty()) return;
    std::call_once(said_, [&] {
      log_info("corpus " + printable(config_.name) +
               ": .lineidx files, which other readers need, are not mended: " + printable(error));
    });
  }

  static constexpr RowRule kLines{RowRule::Kind::kLines, ','};

  CorpusConfig config_;
  std::vector<std::string> texts_, images_;
  std::vector<std::optional<RowIndex>> image_rows_;
  mutable OpenFiles files_{open_file_budget()};
  mutable std::once_flag said_;
};

}  // namespace

std::unique_ptr<Corpus> open_unicl_tsv(const CorpusConfig& config) {
  return make_table_corpus(config, std::make_unique<UniclTsv>(config));
}

}  // namespace triptych

// A line of the map is "NAME <tab> CLASS", or NAME and one or several captions; NAME is a file inside the archive.
#include "data/formats/zip_map.h"

#include <filesystem>
#include <optional>

#include "core/base/errors.h"
#include "data/formats/file_list.h"
#include "data/formats/printable.h"
#include "data/formats/record_text.h"
#include "data/formats/table_corpus.h"
#include "data/formats/zip_index.h"

namespace triptych {
namespace {

/// Those that are not empty, of columns separated by tabs.
std::vector<std::string> captions_of(std::string_view columns) {
  std::vector<std::string> captions;
  for (bool more = true; more;) {
    const auto tab = columns.find('\t');
    const auto text = columns.substr(0, tab);
    if (!is_empty_caption(text)) captions.push_back(clean_caption(text));
    more = tab != std::string_view::npos;
    if (more) columns.remove_prefix(tab + 1);
  }
  if (captions.empty()) throw DataError("no caption: the columns behind the name are empty");
  return captions;
}

class ZipMap : public TableFormat {
 public:
  explicit ZipMap(const CorpusConfig& config)
      : config_(config),
        zips_(list_files("path", config.path)),
        maps_(list_files("map", config.map)),
        entries_(zips_.size()) {
    if (zips_.size() != maps_.size()) {
      throw ConfigError("map: names " + std::to_string(maps_.size()) + " files for the " +
                        std::to_string(zips_.size()) +
                        " archives of path; one for each, in the same order, is expected");
    }
  }

  const std::vector<std::string>& tables() const override { return maps_; }
  RowRule rule() const override { return {RowRule::Kind::kFilledLines}; }

  void add_shard(std::size_t shard, const InputFile&, IndexNotes& notes) override {
    auto opened = open_zip_index(InputFile(zips_[shard]), config_.index_dir);
    notes.set(shard, opened);
    entries_[shard] = std::move(opened.index);
  }

  TableRow parse(std::size_t, std::string_view row) const override {
    const auto tab = row.find('\t');
    const bool labels = config_.kind == "image_label";
    if (tab == std::string_view::npos || (labels && row.find('\t', tab + 1) != std::string_view::npos)) {
      throw DataError(
          labels ? "the line of the map has not two columns; a name and a class, separated by a tab, are expected"
                 : "the line of the map has one column; a name and captions, separated by tabs, are expected");
    }
    TableRow parsed;
    parsed.picture = row.substr(0, tab);
    if (labels) {
      parsed.label = clean_label(row.substr(tab + 1));
    } else {
      parsed.captions = captions_of(row.substr(tab + 1));
    }
    return parsed;
  }

  std::vector<unsigned char> picture(std::size_t shard, std::int64_t, const TableRow& fields) const override {
    try {
      return read_zip_entry(*files_.open(zips_[shard]), *entries_[shard], fields.picture, kLargestPicture);
    } catch (const DataError& error) {
      throw DataError(printable(zips_[shard]) + ": " + error.what());
    }
  }

  void add_to_fingerprint(Xxh64& hash) const override {
    for (std::size_t i = 0; i < zips_.size(); ++i) {
      const auto part = entries_[i]->fingerprint();
      hash.add(std::filesystem::path(zips_[i]).filename().string()).add(&part, sizeof(part));
    }
  }

 private:
  CorpusConfig config_;
  std::vector<std::string> zips_, maps_;
  std::vector<std::optional<ZipIndex>> entries_;
  mutable OpenFiles files_{open_file_budget()};
};

}  // namespace

std::unique_ptr<Corpus> open_zip_map(const CorpusConfig& config) {
  return make_table_corpus(config, std::make_unique<ZipMap>(config));
}

}  // namespace triptych

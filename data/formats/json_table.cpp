// An array of objects, or one object a line.
#include "data/formats/json_table.h"

#include <nlohmann/json.hpp>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "data/formats/file_list.h"
#include "data/formats/picture_file.h"
#include "data/formats/record_text.h"
#include "data/formats/table_corpus.h"

namespace triptych {
namespace {

class JsonTable : public TableFormat {
 public:
  explicit JsonTable(const CorpusConfig& config) : config_(config), tables_(list_files("path", config.path)) {}

  const std::vector<std::string>& tables() const override { return tables_; }
  RowRule rule() const override { return {RowRule::Kind::kJson}; }
  void add_shard(std::size_t, const InputFile&, IndexNotes&) override {}

  TableRow parse(std::size_t, std::string_view row) const override {
    const auto object = parse_object(row, "the row");
    TableRow parsed;
    const auto picture = object.find(config_.image_at());
    if (picture == object.end() || !picture->is_string()) {
      throw DataError("key '" + config_.image_at() + "' is missing or no string");
    }
    parsed.picture = picture->get<std::string>();
    if (config_.kind == "image_label") {
      parsed.label = json_label_text(object, config_.label_at());
    } else {
      parsed.captions = all_captions(object, config_.captions_at());
    }
    return parsed;
  }

  std::vector<unsigned char> picture(std::size_t shard, std::int64_t, const TableRow& fields) const override {
    return read_picture(picture_path(tables_[shard], fields.picture));
  }

  void add_to_fingerprint(Xxh64& hash) const override {
    hash.add(config_.image_at()).add("\n").add(config_.label_at()).add("\n").add(join(config_.captions_at(), "\n"));
  }

 private:
  CorpusConfig config_;
  std::vector<std::string> tables_;
};

}  // namespace

std::unique_ptr<Corpus> open_json_table(const CorpusConfig& config) {
  return make_table_corpus(config, std::make_unique<JsonTable>(config));
}

}  // namespace triptych

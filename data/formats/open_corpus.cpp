// The table of formats. To add one: a file here, a line in the table, its name in CorpusConfig, a test.
#include <array>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/csv_table.h"
#include "data/formats/image_folder.h"
#include "data/formats/json_table.h"
#include "data/formats/keep_list.h"
#include "data/formats/limited_corpus.h"
#include "data/formats/printable.h"
#include "data/formats/unicl_tsv.h"
#include "data/formats/webdataset.h"
#include "data/formats/zip_map.h"

namespace triptych {
namespace {

struct Format {
  const char* name;
  std::unique_ptr<Corpus> (*open)(const CorpusConfig&);
};
constexpr std::array kFormats = {
    Format{"webdataset", open_webdataset}, Format{"unicl_tsv", open_unicl_tsv},       Format{"csv", open_csv_table},
    Format{"json", open_json_table},       Format{"image_folder", open_image_folder}, Format{"zip_map", open_zip_map}};

std::unique_ptr<Corpus> open_format(const CorpusConfig& config) {
  for (const auto& format : kFormats) {
    if (config.format == format.name) return format.open(config);
  }
  throw ConfigError("format: unknown '" + config.format + "'");
}

/// The reader of the configuration has asked this already, but not every corpus comes from a file.
void check(const CorpusConfig& config) {
  try {
    config.validate();
  } catch (const FieldError& error) {
    throw ConfigError(error.key() + ": " + error.what());
  }
  if (config.path.empty()) throw ConfigError("path: is not given");
}

std::unique_ptr<Corpus> with_keep_list(std::unique_ptr<Corpus> corpus) {
  const auto keep_list = corpus->config().keep_list;
  return keep_list.empty() ? std::move(corpus) : with_keep_list(std::move(corpus), keep_list);
}

}  // namespace

std::unique_ptr<Corpus> open_corpus(const CorpusConfig& config) {
  try {
    check(config);
    return limit_records(with_keep_list(open_format(config)));
  } catch (const ConfigError& error) {
    throw ConfigError("corpus " + printable(config.name) + ": " + error.what());
  } catch (const DataError& error) {
    throw ConfigError("corpus " + printable(config.name) + ": " + error.what());
  }
}

}  // namespace triptych

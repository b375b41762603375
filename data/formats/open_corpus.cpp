// The table of formats. To add one: a file here, a line in the table, its name in CorpusConfig, a test.
#include <array>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/image_folder.h"
#include "data/formats/keep_list.h"
#include "data/formats/printable.h"
#include "data/formats/webdataset.h"

namespace triptych {
namespace {

struct Format {
  const char* name;
  std::unique_ptr<Corpus> (*open)(const CorpusConfig&);
};
constexpr std::array kFormats = {Format{"webdataset", open_webdataset}, Format{"image_folder", open_image_folder}};

void check(const CorpusConfig& config) {
  if (config.path.empty()) throw ConfigError("path: is not given");
  if (config.path.find('\0') != std::string::npos) throw ConfigError("path: holds a NUL");
  if (config.kind == "image_text" && config.caption_keys.empty() && config.format == "webdataset") {
    throw ConfigError("caption_keys: is empty; name the members or JSON keys that hold captions");
  }
  if (config.kind == "image_text" && !config.class_names.empty()) {
    throw ConfigError(
        "class_names: an image_text corpus has captions, no classes; leave it out or use kind: image_label");
  }
}

/// What an entry may ask of any format.
std::unique_ptr<Corpus> with_options(std::unique_ptr<Corpus> corpus) {
  const auto keep_list = corpus->config().keep_list;
  return keep_list.empty() ? std::move(corpus) : with_keep_list(std::move(corpus), keep_list);
}

}  // namespace

std::unique_ptr<Corpus> open_corpus(const CorpusConfig& config) {
  try {
    check(config);
    std::string known;
    for (const auto& format : kFormats) {
      if (config.format == format.name) return with_options(format.open(config));
      known += std::string(" ") + format.name;
    }
    throw ConfigError("format: unknown '" + config.format + "'; known:" + known);
  } catch (const ConfigError& error) {
    throw ConfigError("corpus " + printable(config.name) + ": " + error.what());
  } catch (const DataError& error) {
    throw ConfigError("corpus " + printable(config.name) + ": " + error.what());
  }
}

}  // namespace triptych

// Which keys each format has, and what they are when they are not given.
#include "data/corpus_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "core/base/strings.h"

namespace triptych {
namespace {

struct Defaults {
  std::string_view format, caption_key, label_key, image_key;  ///< empty: the format does not use such a key
};
constexpr std::array kDefaults = {
    Defaults{"webdataset", "txt", "cls", ""},     Defaults{"unicl_tsv", "captions", "class_name", ""},
    Defaults{"csv", "caption", "label", "image"}, Defaults{"json", "caption", "label", "image"},
    Defaults{"image_folder", "txt", "", ""},      Defaults{"zip_map", "", "", ""}};

const Defaults& defaults_of(const std::string& format) {
  const auto* found =
      std::find_if(kDefaults.begin(), kDefaults.end(), [&](const auto& d) { return d.format == format; });
  if (found != kDefaults.end()) return *found;
  throw FieldError("format", "is unknown: '" + format + "'");
}

/// Throws unless a key that was given is one of the format's.
void check_use(const std::string& format, const char* key, bool given, bool used, const std::string& users) {
  if (given && !used) {
    throw FieldError(key, "is not used by format " + format + ", only by " + users + "; leave it out");
  }
}

std::string users_of(std::string_view Defaults::*key) {
  std::vector<std::string> formats;
  for (const auto& entry : kDefaults) {
    if (!(entry.*key).empty()) formats.emplace_back(entry.format);
  }
  return join(formats, ", ");
}

/// A file that the format cannot do without.
void check_given(const std::string& format, const char* key, const std::string& value, const char* what) {
  if (value.empty()) throw FieldError(key, std::string("is not given; ") + format + " needs " + what);
  if (value.find('\0') != std::string::npos) throw FieldError(key, "holds a NUL");
}

void check_delimiter(const CorpusConfig& c) {
  if (c.delimiter.empty()) return;
  const bool plain =
      c.delimiter.size() == 1 && std::string_view("\"\r\n\0", 4).find(c.delimiter[0]) == std::string::npos;
  if (!plain) {
    throw FieldError("delimiter",
                     "must be one byte and neither a quote nor a line end; a tab is written \"\\t\" in "
                     "double quotes");
  }
}

void check_kind(const CorpusConfig& c) {
  const auto refuse = [](const char* key, bool given, const char* why) {
    if (given) throw FieldError(key, std::string("is given, but an ") + why + "; leave it out");
  };
  const bool labels = c.kind == "image_label";
  constexpr const char* kClasses = "image_label corpus has classes, no captions";
  refuse("caption_keys", labels && !c.caption_keys.empty(), kClasses);
  refuse("phrases", labels && !c.phrases.empty(), kClasses);
  refuse("label_key", !labels && !c.label_key.empty(), "image_text corpus has captions, no classes");
}

}  // namespace

void CorpusConfig::validate() const {
  const auto& own = defaults_of(format);
  check_use(format, "images", !images.empty(), format == "unicl_tsv", "unicl_tsv");
  check_use(format, "map", !map.empty(), format == "zip_map", "zip_map");
  check_use(format, "delimiter", !delimiter.empty(), format == "csv", "csv");
  check_use(format, "quotes", quotes != "rfc4180", format == "csv", "csv");
  check_use(format, "image_key", !image_key.empty(), !own.image_key.empty(), users_of(&Defaults::image_key));
  if (format == "zip_map" && !caption_keys.empty()) {
    throw FieldError("caption_keys",
                     "is not used by format zip_map: the columns of a map have no names, and all behind the first are "
                     "captions; leave it out");
  }
  check_use(format, "caption_keys", !caption_keys.empty(), !own.caption_key.empty(), users_of(&Defaults::caption_key));
  check_use(format, "label_key", !label_key.empty(), !own.label_key.empty(), users_of(&Defaults::label_key));
  check_use(format, "index_dir", !index_dir.empty(), uses_index(), "formats with index files");
  check_delimiter(*this);
  check_kind(*this);
  for (const auto& key : caption_keys) {
    if (key.empty()) throw FieldError("caption_keys", "holds an empty name");
  }
  if (max_records > 1 && max_records != std::floor(max_records)) {
    throw FieldError("max_records",
                     "is " + number_text(max_records) + "; a whole number of records or a share below 1 is expected");
  }
  if (path.empty()) return;  // an evaluation's corpus that is not there; open_corpus() refuses it
  check_given(format, "path", path, "the files of the corpus");
  if (format == "unicl_tsv") check_given(format, "images", images, "the image shards beside the text shards in path");
  if (format == "zip_map") check_given(format, "map", map, "the file that names the pictures and their classes");
  if (kind == "image_text" && !class_names.empty()) {
    throw FieldError("class_names",
                     "is given, but an image_text corpus has captions, no classes; leave it out or use "
                     "kind: image_label");
  }
  const bool names_in_data = format != "webdataset" && format != "zip_map";
  if (kind == "image_label" && class_names.empty() && !names_in_data) {
    throw FieldError("class_names",
                     "is not given; " + format + " holds class indices only and needs the file of names");
  }
}

bool CorpusConfig::uses_index() const {
  return format != "image_folder";
}

void CorpusConfig::inherit_index_dir(const std::string& common) {
  if (index_dir.empty() && uses_index()) index_dir = common;
}

std::vector<std::string> CorpusConfig::captions_at() const {
  return caption_keys.empty() ? std::vector{std::string(defaults_of(format).caption_key)} : caption_keys;
}

std::string CorpusConfig::label_at() const {
  return label_key.empty() ? std::string(defaults_of(format).label_key) : label_key;
}

std::string CorpusConfig::image_at() const {
  return image_key.empty() ? std::string(defaults_of(format).image_key) : image_key;
}

}  // namespace triptych

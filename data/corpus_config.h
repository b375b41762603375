// One entry of data.corpora, and of an evaluation's corpus.
#pragma once
#include <string>
#include <vector>

#include "core/base/config.h"

namespace triptych {

struct CorpusConfig {
  std::string name;
  std::string kind = "image_text";
  std::string format = "webdataset";
  std::string path;
  std::string images;
  std::string map;
  std::string image_key;
  std::vector<std::string> caption_keys;
  std::string class_names;
  std::string label_key;
  std::string delimiter;
  std::string quotes = "rfc4180";
  double max_records = 0;
  double weight = 1;
  std::string index_dir;
  std::string phrases;
  std::string keep_list;

  bool uses_index() const;  ///< whether the format has index files
  /// Takes the folder of all corpora where the format uses one and this corpus names none.
  void inherit_index_dir(const std::string& common);

  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("name", c.name, "how the log and the errors call this corpus");
    field("kind", c.kind, "image_text has captions, image_label has class names",
          one_of({"image_text", "image_label"}));
    field("format", c.format, "how the files are laid out",
          one_of({"webdataset", "unicl_tsv", "csv", "json", "image_folder", "zip_map"}));
    field("path", c.path,
          "files: a glob, or brace lists {000..012}; unicl_tsv: the text shards; zip_map: the zip archives; "
          "image_folder: the root folder or folders");
    field("images", c.images, "unicl_tsv: the image shards, as many as text shards and in the same order");
    field("map", c.map, "zip_map: the map files, as many as zip archives and in the same order");
    field("image_key", c.image_key, "csv, json: column or key that holds the picture's path; empty: image");
    field("caption_keys", c.caption_keys,
          "where captions are: members or JSON keys (webdataset), columns (csv), keys (json, unicl_tsv), extensions of "
          "the files beside a picture (image_folder); empty: what docs/data_formats.md names");
    field("class_names", c.class_names,
          "image_label: text file, one class a line (several names separated by '|'); webdataset and zip_map need it, "
          "the others take the names that stand in the data or the folders' names without it");
    field(
        "label_key", c.label_key,
        "image_label: member or JSON key (webdataset, an index), column (csv) or key (json, unicl_tsv) that holds the "
        "class; empty: what docs/data_formats.md names");
    field("delimiter", c.delimiter, "csv: the byte between columns; empty: a comma; \"\\t\": a tab");
    field("quotes", c.quotes,
          "csv: rfc4180: a field in double quotes may hold delimiters and line ends; none: a quote is a character as "
          "any other, for files that were written without quoting",
          one_of({"rfc4180", "none"}));
    field("max_records", c.max_records,
          "use only this many records (1: a single one), or below 1 this share of them, evenly spread over the corpus; "
          "0: all",
          at_least(0));
    field("weight", c.weight, "share of this corpus under data.mixing: weighted", positive());
    field("index_dir", c.index_dir, "where index files of this corpus are written; empty: data.index_dir");
    field(
        "phrases", c.phrases,
        "image_text: file of the captions' noun phrases, made by `triptych data phrases`; checked at start, read when "
        "the objective asks for phrases");
    field("keep_list", c.keep_list,
          "file of `triptych data filter`: only the records that it keeps are used; empty: all records");
  }
  /// Throws FieldError: a key that the format does not use, one that it needs and that is missing, values that
  /// contradict each other.
  void validate() const;

  /// The keys with the format's own defaults filled in.
  std::vector<std::string> captions_at() const;
  std::string label_at() const;
  std::string image_at() const;
};

}  // namespace triptych

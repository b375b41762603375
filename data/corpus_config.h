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
  std::vector<std::string> caption_keys = {"txt"};
  std::string class_names;
  std::string label_key = "cls";
  double weight = 1;
  std::string index_dir;
  std::string keep_list;

  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("name", c.name, "how the log and the errors call this corpus");
    field("kind", c.kind, "image_text has captions, image_label has class names",
          one_of({"image_text", "image_label"}));
    field("format", c.format, "how the files are laid out", one_of({"webdataset", "image_folder"}));
    field("path", c.path, "files: a glob, or brace lists {000..012}; image_folder: the root folder");
    field("caption_keys", c.caption_keys, "webdataset: members or JSON keys that hold captions, first found first");
    field("class_names", c.class_names,
          "image_label: text file, one class a line (several names separated by '|'); "
          "image_folder: optional, the folders' names otherwise");
    field("label_key", c.label_key, "webdataset, image_label: member or JSON key that holds the class index");
    field("weight", c.weight, "share of this corpus under data.mixing: weighted", positive());
    field("index_dir", c.index_dir, "where index files of this corpus are written; empty: data.index_dir");
    field("keep_list", c.keep_list,
          "file of `triptych data filter`: only the records that it keeps are used; empty: all records");
  }
};

}  // namespace triptych

// Which keys a corpus may have, by format: one that would do nothing is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/config_reader.h"
#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/data_config.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const std::string& entry) {
  try {
    parse_config<DataConfig>("corpora:\n  - {name: a, " + entry + "}\n", "run.yaml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

struct Case {
  const char* name;
  const char* entry;
  const char* expected;
};
class CorpusKeysTest : public testing::TestWithParam<Case> {};

TEST_P(CorpusKeysTest, AreThoseOfTheFormat) {
  EXPECT_THAT(refusal(GetParam().entry), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    Entries, CorpusKeysTest,
    testing::Values(
        Case{"webdataset", "path: a.tar, caption_keys: [txt]", "accepted"},
        Case{"webdataset_labels", "kind: image_label, path: a.tar, class_names: c.txt, label_key: y", "accepted"},
        Case{"csv", "format: csv, path: a.csv, image_key: f, caption_keys: [a, b], delimiter: \"\\t\"", "accepted"},
        Case{"csv_without_quotes", "format: csv, path: a.tsv, delimiter: \"\\t\", quotes: none", "accepted"},
        Case{"quotes_of_json", "format: json, path: a, quotes: none", "is not used by format json, only by csv"},
        Case{"quotes", "format: csv, path: a, quotes: single", "corpora.0.quotes: "},
        Case{"csv_labels", "format: csv, kind: image_label, path: a.csv, label_key: y", "accepted"},
        Case{"json", "format: json, path: a.json, image_key: f", "accepted"},
        Case{"unicl", "format: unicl_tsv, path: t.tsv, images: i.tsv, max_records: 0.5", "accepted"},
        Case{"folder", "format: image_folder, path: a, caption_keys: [text]", "accepted"},
        Case{"zip", "format: zip_map, kind: image_label, path: a.zip, map: m.txt, class_names: c.txt", "accepted"},
        Case{"limit", "path: a.tar, max_records: 1000", "accepted"},
        Case{"line", "path: a.tar, delimiter: \",\"", "run.yaml:2"},
        Case{"delimiter_of_tar", "path: a.tar, delimiter: \",\"",
             "corpora.0.delimiter: is not used by format webdataset, only by csv"},
        Case{"images_of_csv", "format: csv, path: a, images: b", "is not used by format csv, only by unicl_tsv"},
        Case{"map_of_json", "format: json, path: a, map: b", "is not used by format json, only by zip_map"},
        Case{"image_key_of_tar", "path: a, image_key: b", "is not used by format webdataset, only by csv, json"},
        Case{"label_key_of_folder", "format: image_folder, path: a, label_key: b",
             "is not used by format image_folder, only by webdataset, unicl_tsv, csv, json"},
        Case{"caption_keys_of_zip", "format: zip_map, path: a, map: b, caption_keys: [c]",
             "corpora.0.caption_keys: is not used by format zip_map: the columns of a map have no names"},
        Case{"index_dir", "path: a.tar, index_dir: b", "accepted"},
        Case{"index_dir_of_folder", "format: image_folder, path: a, index_dir: b",
             "corpora.0.index_dir: is not used by format image_folder, only by formats with index files"},
        Case{"no_images", "format: unicl_tsv, path: a", "corpora.0.images: is not given"},
        Case{"no_map", "format: zip_map, path: a", "corpora.0.map: is not given"},
        Case{"label_key_of_captions", "path: a, label_key: b",
             "corpora.0.label_key: is given, but an image_text corpus"},
        Case{"caption_keys_of_labels", "kind: image_label, path: a, class_names: c, caption_keys: [txt]",
             "corpora.0.caption_keys: is given, but an image_label corpus"},
        Case{"phrases_of_labels", "kind: image_label, path: a, class_names: c, phrases: p",
             "corpora.0.phrases: is given, but an image_label corpus"},
        Case{"no_names", "kind: image_label, path: a",
             "corpora.0.class_names: is not given; webdataset holds class indices"},
        Case{"names_of_captions", "path: a, class_names: b", "an image_text corpus has captions, no classes"},
        Case{"long_delimiter", "format: csv, path: a, delimiter: ab", "must be one byte"},
        Case{"quote_as_delimiter", "format: csv, path: a, delimiter: '\"'", "must be one byte"},
        Case{"empty_caption_key", "path: a, caption_keys: [\"\"]", "holds an empty name"},
        Case{"fraction_above_one", "path: a, max_records: 1.5", "a whole number of records or a share below 1"},
        Case{"negative_limit", "path: a, max_records: -1", "max_records"},
        Case{"nan_limit", "path: a, max_records: .nan", "max_records"},
        Case{"format", "format: parquet, path: a", "webdataset, unicl_tsv, csv, json, image_folder, zip_map"}),
    [](const auto& which) { return which.param.name; });

/// What is built in code passes the same checks.
TEST(CorpusKeysInCodeTest, AreCheckedWhenTheCorpusIsOpened) {
  CorpusConfig config;
  config.name = "a";
  config.path = "a.tar";
  config.delimiter = ";";
  try {
    open_corpus(config);
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("corpus a: delimiter: is not used by format webdataset")));
  }
}

/// A resolved configuration reads back as it was.
TEST(CorpusKeysInCodeTest, DumpsReadBack) {
  for (const std::string entry :
       {"path: a.tar", "format: image_folder, path: a", "format: csv, path: a", "format: zip_map, path: a, map: b"}) {
    const auto config = parse_config<DataConfig>("corpora:\n  - {name: a, " + entry + "}\n", "run.yaml");
    const auto text = config_text(config);
    EXPECT_EQ(config_text(parse_config<DataConfig>(text, "again.yaml")), text);
  }
}

}  // namespace
}  // namespace triptych

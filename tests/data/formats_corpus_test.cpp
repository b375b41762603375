// What a record holds, by format: captions, labels, class names, lists of files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/class_names.h"
#include "data/formats/file_list.h"
#include "data/formats/printable.h"
#include "data/formats/record_error.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Error, class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// ---- webdataset ----------------------------------------------------------------------------------------------------

/// One record x with these members, read by these caption keys.
Record read_one(TarWriter tar, std::vector<std::string> keys) {
  const TempDir folder;
  write_test_file(folder / "a.tar", tar.end().bytes());
  auto config = text_corpus(folder / "a.tar");
  config.caption_keys = std::move(keys);
  return open_corpus(config)->read(0);
}

TEST(WebDatasetTest, CaptionsComeInTheOrderOfTheKeys) {
  TarWriter tar;
  tar.file("x.json", R"({"title": "from json", "tags": ["one", " ", "two "], "n": 3})")
      .file("x.png", "p")
      .file("x.txt", "\xEF\xBB\xBF from txt\r\n");
  EXPECT_THAT(read_one(tar, {"txt"}).captions, ElementsAre("from txt"));
  EXPECT_THAT(read_one(tar, {"title"}).captions, ElementsAre("from json"));
  EXPECT_THAT(read_one(tar, {"tags", "missing", "txt", "title"}).captions,
              ElementsAre("one", "two", "from txt", "from json"));
  const auto reason = [&](std::vector<std::string> keys) {
    return error_of<RecordError>([&] { read_one(tar, keys); });
  };
  EXPECT_THAT(reason({"n"}), HasSubstr("JSON key 'n' is neither a string nor a list of strings"));
  EXPECT_THAT(reason({"missing"}), HasSubstr("no caption: members or JSON keys missing absent or empty"));
}

TEST(WebDatasetTest, EmptyAndNullCaptionsAreAsGoodAsAbsent) {
  TarWriter tar;
  tar.file("x.png", "p")
      .file("x.txt", "")
      .file("x.alt", " \n")
      .file("x.cap", "a")
      .file("x.json", R"({"title": "", "tags": null, "json": "b"})");
  EXPECT_THAT(read_one(tar, {"txt", "alt", "title", "tags", "cap"}).captions, ElementsAre("a"));
  EXPECT_THAT(read_one(tar, {"title", "json", "txt"}).captions, ElementsAre("b"));
  EXPECT_THAT(error_of<RecordError>([&] {
                read_one(tar, {"txt", "alt", "title", "tags"});
              }),
              HasSubstr("no caption: members or JSON keys txt, alt, title, tags absent or empty"));
}

TEST(WebDatasetTest, BadJsonIsABadRecord) {
  const auto reason = [](const std::string& json) {
    return error_of<RecordError>([&] { read_one(TarWriter().file("x.png", "p").file("x.json", json), {"t"}); });
  };
  EXPECT_THAT(reason("{\"t\": "), HasSubstr("the .json member cannot be parsed as JSON: wrong at its byte 7"));
  EXPECT_THAT(reason("{\"t\": 1e999}"), HasSubstr("the .json member cannot be parsed as JSON: it has a number"));
  EXPECT_THAT(reason("{\"a\": NaN, \"t\": 1e999}"), HasSubstr("it has a number that is too large"));
  EXPECT_THAT(reason("{\"a\": NaN, \"t\": [-Infinity]}"), HasSubstr("no caption"));
  EXPECT_THAT(reason("[1]"), HasSubstr("no JSON object"));
  EXPECT_THAT(reason("{\"t\": [\"\", \" \"]}"), HasSubstr("members or JSON keys t absent or empty"));
  EXPECT_THAT(reason("{\"t\": [1]}"), HasSubstr("something that is no string"));
  EXPECT_THAT(reason("{\"t\": \"\"}"), HasSubstr("members or JSON keys t absent or empty"));
  EXPECT_THAT(reason(std::string(100000, '[')), HasSubstr("the .json member is JSON nested deeper than 100 levels"));
  EXPECT_THAT(reason("{\"t\": \"" + std::string(1000, '[') + "\\\"" + std::string(1000, '{') + "\", \"u\": 1e999}"),
              HasSubstr("cannot be parsed"));  // brackets in a string are no levels
}

TEST(WebDatasetTest, TheFirstKnownExtensionIsThePicture) {
  const auto record = read_one(
      TarWriter().file("x.txt", "c").file("x.webp", "webp").file("x.JPEG", "jpeg").file("x.png", "png"), {"txt"});
  EXPECT_EQ(std::string(record.image.begin(), record.image.end()), "jpeg");
  EXPECT_EQ(record.place.key, "x");
  EXPECT_EQ(record.place.offset, 0);
}

class LabelTest : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(LabelTest, IsAnIndexIntoTheNames) {
  const auto [text, expected] = GetParam();
  const TempDir folder;
  write_test_file(folder / "classes.txt", "cat\ndog\nbird\n");
  write_test_file(folder / "a.tar", TarWriter().file("x.jpg", "p").file("x.cls", text).end().bytes());
  write_test_file(
      folder / "j.tar",
      TarWriter().file("x.jpg", "p").file("x.json", "{\"cls\": \"" + std::string(text) + "\"}").end().bytes());
  for (const auto* name : {"a.tar", "j.tar"}) {
    const auto corpus = open_corpus(label_corpus(folder / name, folder / "classes.txt"));
    if (std::string(expected).size() == 1) {
      EXPECT_EQ(corpus->read(0).label, std::stoi(expected));
    } else {
      EXPECT_THAT(error_of<RecordError>([&] { corpus->read(0); }), HasSubstr(expected));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Values, LabelTest,
                         testing::Values(std::pair{"0", "0"}, std::pair{" 2 ", "2"}, std::pair{"02", "2"},
                                         std::pair{"3", "label '3' is no class index: 0 to 2 are expected"},
                                         std::pair{"-1", "label '-1' is no class index"},
                                         std::pair{"1.0", "label '1.0'"}, std::pair{"nan", "label 'nan'"},
                                         std::pair{"dog", "label 'dog'"},
                                         std::pair{"99999999999999999999", "label '99999999999999999999'"}));

TEST(WebDatasetTest, JsonLabels) {
  const TempDir folder;
  write_test_file(folder / "classes.txt", "cat\ndog");
  TarWriter tar;
  int n = 0;
  for (const auto* json : {"{\"y\": 1}", "{\"y\": 2}", "{\"y\": 1.0}", "{\"y\": [1]}", "{}", "{\"y\": null}"}) {
    const auto key = std::to_string(n++);
    tar.file(key + ".jpg", "p").file(key + ".json", json);
  }
  tar.file("6.jpg", "p");
  write_test_file(folder / "a.tar", tar.end().bytes());
  auto config = label_corpus(folder / "a.tar", folder / "classes.txt");
  config.label_key = "y";
  const auto corpus = open_corpus(config);
  EXPECT_EQ(corpus->read(0).label, 1);
  const auto reason = [&](std::int64_t i) { return error_of<RecordError>([&] { corpus->read(i); }); };
  EXPECT_THAT(reason(1), HasSubstr("label '2'"));
  EXPECT_THAT(reason(2), HasSubstr("label '1.0'"));
  EXPECT_THAT(reason(3), HasSubstr("JSON key 'y' holds an array, no class index: 0 to 1 are expected"));
  EXPECT_THAT(reason(4), HasSubstr("neither a .y member nor a JSON key 'y'"));
  EXPECT_THAT(reason(5), HasSubstr("JSON key 'y' is null"));
  EXPECT_THAT(reason(6), HasSubstr("no label: neither a .y nor a .json member"));
}

/// Writing such a value into a message would take the stack.
TEST(WebDatasetTest, DeepJsonLabelsAreBadRecords) {
  const TempDir folder;
  write_test_file(folder / "classes.txt", "cat\ndog");
  TarWriter tar;
  for (const int levels : {99, 100, 200'000}) {  // within the object
    const auto key = std::to_string(levels);
    const auto json = "{\"cls\": " + std::string(levels, '[') + std::string(levels, ']') + "}";
    tar.file(key + ".jpg", "p").file(key + ".json", json);
  }
  write_test_file(folder / "a.tar", tar.end().bytes());
  const auto corpus = open_corpus(label_corpus(folder / "a.tar", folder / "classes.txt"));
  const auto reason = [&](std::int64_t i) { return error_of<RecordError>([&] { corpus->read(i); }); };
  EXPECT_THAT(reason(0), HasSubstr("JSON key 'cls' holds an array"));
  EXPECT_THAT(reason(1), HasSubstr("nested deeper than 100 levels"));
  EXPECT_THAT(reason(2), HasSubstr("nested deeper than 100 levels"));
}

TEST(WebDatasetTest, ShardsAreOneCorpusInTheOrderOfTheirNames) {
  const TempDir folder;
  const auto shard = [&](const std::string& name, int first, int count) {
    TarWriter tar;
    for (int i = first; i < first + count; ++i) tar.file("same.jpg", "p").file("same.txt", std::to_string(i)).raw("");
    if (count > 1) tar = TarWriter();
    for (int i = first; count > 1 && i < first + count; ++i)
      tar.file(std::to_string(i) + ".jpg", "p").file(std::to_string(i) + ".txt", std::to_string(i));
    write_test_file(folder / name, tar.end().bytes());
  };
  shard("b-2.tar", 5, 1);  // the key "same" in two shards: two records
  shard("b-10.tar", 2, 3);
  shard("b-1.tar", 0, 1);
  write_test_file(folder / "b-0.tar", TarWriter().end().bytes());  // an empty shard among others
  const auto corpus = open_corpus(text_corpus(folder / "b-*.tar"));
  ASSERT_EQ(corpus->size(), 5);
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < 5; ++i) captions.push_back(corpus->read(i).captions.at(0));
  EXPECT_THAT(captions, ElementsAre("0", "2", "3", "4", "5"));  // by bytes: b-0, b-1, b-10, b-2
  ASSERT_EQ(corpus->shards().size(), 4U);
  EXPECT_EQ(corpus->shards()[2].first, 1);
  EXPECT_EQ(corpus->shards()[2].count, 3);
  EXPECT_THROW(corpus->read(5), std::out_of_range);
  EXPECT_THROW(corpus->read(-1), std::out_of_range);
}

TEST(WebDatasetTest, WrongConfigurationsNameTheCorpus) {
  const TempDir folder;
  write_test_file(folder / "a.tar", TarWriter().file("x.jpg", "p").file("x.txt", "c").end().bytes());
  const auto message = [](const CorpusConfig& config) { return error_of<ConfigError>([&] { open_corpus(config); }); };
  EXPECT_THAT(message(text_corpus(folder / "none-*.tar")),
              testing::AllOf(HasSubstr("corpus texts: "), HasSubstr("none-*.tar': no file matches")));
  auto config = text_corpus(folder / "a.tar");
  config.kind = "image_label";
  EXPECT_THAT(message(config),
              HasSubstr("corpus texts: class_names: is not given; webdataset holds class indices only"));
  config.class_names = (folder / "missing.txt").string();
  EXPECT_THAT(message(config), HasSubstr("class_names: cannot open"));
  config = text_corpus(folder / "a.tar");
  config.class_names = "classes.txt";
  EXPECT_THAT(message(config), HasSubstr("class_names: is given, but an image_text corpus has captions"));
  EXPECT_THAT(message(text_corpus("")), HasSubstr("path: is not given"));
}

// ---- class names ---------------------------------------------------------------------------------------------------

TEST(ClassNamesTest, NormalisationFoldsCaseBlanksAndDashes) {
  EXPECT_EQ(normalized_name("Golden_Retriever "), "golden retriever");
  EXPECT_EQ(normalized_name(" golden -\t retriever"), "golden retriever");
  EXPECT_EQ(normalized_name("Stra\xC3\x9F"
                            "e"),
            "strasse");
  EXPECT_EQ(normalized_name("\xEF\xBC\xA1"
                            "bc"),
            "abc");  // full-width A
  EXPECT_EQ(normalized_name(" _- "), "");
}

TEST(ClassNamesTest, OneClassALine) {
  const TempDir folder;
  write_test_file(folder / "c.txt",
                  "\xEF\xBB\xBF"
                  "cat | kitty\r\nt-shirt\r\n");
  EXPECT_THAT(read_class_names((folder / "c.txt").string()),
              ElementsAre(ElementsAre("cat", "kitty"), ElementsAre("t-shirt")));
  const auto message = [&](const std::string& text) {
    write_test_file(folder / "c.txt", text);
    return error_of<ConfigError>([&] { read_class_names((folder / "c.txt").string()); });
  };
  EXPECT_THAT(message("cat\nDog\ndog\n"), testing::AllOf(HasSubstr("c.txt:3: 'dog' stands in line 2 already")));
  EXPECT_THAT(message("cat\n\ndog\n"), HasSubstr("c.txt:2: an empty name"));
  EXPECT_THAT(message("cat|\n"), HasSubstr("c.txt:1: an empty name"));
  EXPECT_THAT(message("cat|dog\ndog"), HasSubstr("c.txt:2: 'dog' stands in line 1 already"));
  EXPECT_THAT(message("cat|Cat"), HasSubstr("c.txt:1: 'Cat' stands in line 1 already"));
  EXPECT_THAT(message("c\xFF"), HasSubstr("c.txt:1: 'c\\xff' is not UTF-8"));
  EXPECT_THAT(message(""), HasSubstr("has no class"));
}

// ---- lists of files ------------------------------------------------------------------------------------------------

TEST(FileListTest, BracesAreRangesAndLists) {
  EXPECT_THAT(expand_braces("a-{08..11}.tar"), ElementsAre("a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"));
  EXPECT_THAT(expand_braces("a-{8..11}"), ElementsAre("a-8", "a-9", "a-10", "a-11"));
  EXPECT_THAT(expand_braces("{a,b}/{0..1}"), ElementsAre("a/0", "a/1", "b/0", "b/1"));
  EXPECT_THAT(expand_braces("plain"), ElementsAre("plain"));
  const auto message = [](const char* pattern) { return error_of<ConfigError>([&] { expand_braces(pattern); }); };
  EXPECT_THAT(message("{0..999999999999}"), HasSubstr("has more than 1000000 names"));
  EXPECT_THAT(message("{0..9999}{0..9999}"), HasSubstr("more than 1000000 names"));
  EXPECT_THAT(message("{9..1}"), HasSubstr("runs backwards"));
  EXPECT_THAT(message("a{0..3"), HasSubstr("a '{' has no '}'"));
  EXPECT_THAT(message("a{x}"), HasSubstr("neither a range {000..012} nor a list"));
  EXPECT_THAT(message("{a,{b,c}}"), HasSubstr("braces cannot stand in braces"));
  EXPECT_THAT(message("{-1..3}"), HasSubstr("neither a range"));
}

TEST(FileListTest, EveryAlternativeMustMatch) {
  const TempDir folder;
  for (const auto* name : {"s-a-0.tar", "s-a-1.tar", "s-c-0.tar"}) write_test_file(folder / name, "x");
  EXPECT_EQ(list_files((folder / "s-{a,c}-*.tar").string()).size(), 3U);
  // Lists that are written in pairs keep their order; what a wildcard matches has none of its own.
  const auto both = list_files((folder / "s-{c,a}-*.tar").string());
  EXPECT_EQ(both.size(), 3U);
  EXPECT_THAT(both.front(), HasSubstr("s-c-"));
  EXPECT_TRUE(std::is_sorted(both.begin() + 1, both.end()));
  EXPECT_EQ(list_files((folder / "s-{c,a,c}-*.tar").string()), both);
  EXPECT_THAT(error_of<ConfigError>([&] { list_files((folder / "s-{a,b,c}-*.tar").string()); }),
              HasSubstr("no file matches " + (folder / "s-b-*.tar").string() + "; paths are relative"));
  EXPECT_THAT(error_of<ConfigError>([&] { list_files((folder / "none/s-*.tar").string()); }),
              HasSubstr("': no file matches; paths are relative"));
}

TEST(FileListTest, AFolderThatCannotBeReadIsNotTakenForAnEmptyOne) {
  const TempDir folder;
  std::filesystem::create_symlink("circle", folder / "circle");  // stops the superuser too, unlike permissions
  EXPECT_THAT(error_of<ConfigError>([&] { list_files((folder / "circle/*.tar").string()); }),
              HasSubstr("a folder cannot be read: " + (folder / "circle").string() + ": Too many levels"));
}

TEST(FileListTest, OddNamesAreFound) {
  const TempDir folder;
  for (const auto* name : {"a b.tar", "c'\"d.tar", "-e.tar", "f\ng.tar", "h{1}.tar", "i*.tar", "\xC3\xA9.tar"}) {
    write_test_file(folder / name, "x");
    EXPECT_THAT(list_files((folder / name).string()), ElementsAre((folder / name).string()));
  }
  EXPECT_EQ(list_files((folder / "*.tar").string()).size(), 7U);
  EXPECT_EQ(list_files((folder / "{-e,a b,-e}.tar").string()).size(), 2U);
  const auto missing = error_of<ConfigError>([&] { list_files((folder / "{a b,zz}.tar").string()); });
  EXPECT_THAT(missing, HasSubstr("there is no file or folder"));
}

TEST(PrintableTest, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("plain \xC3\xA9 \xE2\x82\xAC"), "plain \xC3\xA9 \xE2\x82\xAC");
  EXPECT_EQ(printable("\x1B[31mred\n"), "\\x1b[31mred\\x0a");
  EXPECT_EQ(printable("\xFF\xC2\x9B"
                      "0m"),
            "\\xff\\xc2\\x9b0m");
  EXPECT_EQ(printable(std::string(1000, 'a')), std::string(200, 'a') + "...");
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));  // a surrogate
  EXPECT_FALSE(is_utf8("\xC0\xAF"));      // overlong
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));
  EXPECT_FALSE(is_utf8("\xE2\x82"));
  EXPECT_TRUE(is_utf8("\xF0\x9F\x98\x80"));
}

}  // namespace
}  // namespace triptych

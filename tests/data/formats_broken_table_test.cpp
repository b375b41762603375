// Tables, base64, labels and zip archives that are damaged, odd or hostile. Each has a fixed outcome: which records are
// read, which are bad and why, or why the corpus is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/base64.h"
#include "data/formats/csv_row.h"
#include "data/formats/record_error.h"
#include "data/formats/zip_index.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/zip_writer.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// What reading every record of a corpus gave.
struct Outcome {
  std::vector<std::string> read;  // first caption, or the name of the class
  std::vector<std::string> bad;   // the message
  std::string refused;            // the corpus could not be opened: exit code 2
};

Outcome read_all(const CorpusConfig& config) {
  Outcome outcome;
  try {
    const auto corpus = open_corpus(config);
    for (std::int64_t i = 0; i < corpus->size(); ++i) {
      try {
        const auto record = corpus->read(i);
        outcome.read.push_back(record.label < 0
                                   ? record.captions.at(0)
                                   : corpus->class_names().at(static_cast<std::size_t>(record.label)).at(0));
      } catch (const RecordError& error) {
        EXPECT_EQ(error.code(), ExitCode::kData);
        outcome.bad.emplace_back(error.what());
      }
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    outcome.refused = error.what();
  }
  return outcome;
}

void expect_outcome(const Outcome& outcome, const std::vector<std::string>& read, const std::vector<std::string>& bad,
                    const std::string& refused) {
  EXPECT_EQ(outcome.read, read);
  ASSERT_EQ(outcome.bad.size(), bad.size()) << testing::PrintToString(outcome.bad);
  for (std::size_t i = 0; i < bad.size(); ++i) EXPECT_THAT(outcome.bad[i], HasSubstr(bad[i]));
  EXPECT_THAT(outcome.refused, HasSubstr(refused));
  EXPECT_EQ(refused.empty(), outcome.refused.empty()) << outcome.refused;
}

/// One file of text and what comes of it.
struct TextCase {
  const char* name;
  std::string text;
  std::vector<std::string> read, bad = {};
  std::string refused = "";
};
std::string case_name(const testing::TestParamInfo<TextCase>& info) {
  return info.param.name;
}

// ---- CSV -----------------------------------------------------------------------------------------------------------

CorpusConfig csv_corpus(const TempDir& dir, const std::string& table) {
  write_test_file(dir / "x.png", "picture");
  write_test_file(dir / "t.csv", table);
  auto config = text_corpus(dir / "t.csv");
  config.format = "csv";
  return config;
}

class CsvTest : public testing::TestWithParam<TextCase> {};

TEST_P(CsvTest, HasTheExpectedOutcome) {
  const TempDir dir;
  const auto& c = GetParam();
  expect_outcome(read_all(csv_corpus(dir, c.text)), c.read, c.bad, c.refused);
}

const std::string kHeader = "image,caption\n";
INSTANTIATE_TEST_SUITE_P(
    Files, CsvTest,
    testing::Values(
        TextCase{"plain", kHeader + "x.png,a\nx.png,b\n", {"a", "b"}},
        TextCase{"no_final_newline", kHeader + "x.png,a\nx.png,b", {"a", "b"}},
        TextCase{"crlf", "image,caption\r\nx.png,a\r\nx.png,b\r\n", {"a", "b"}},
        TextCase{"byte_order_mark", "\xEF\xBB\xBF" + kHeader + "x.png,a\n", {"a"}},
        TextCase{"empty_lines", kHeader + "\nx.png,a\n\r\n\nx.png,b\n\n", {"a", "b"}},
        TextCase{"columns_in_another_order", "id,caption,image\n1,a,x.png\n", {"a"}},
        TextCase{"newline_in_quotes", kHeader + "x.png,\"a\nb\"\nx.png,c\n", {"a\nb", "c"}},
        TextCase{"delimiter_and_quotes_in_quotes", kHeader + "x.png,\"a, \"\"b\"\"\"\n", {"a, \"b\""}},
        TextCase{"quote_inside_a_field", kHeader + "x.png,5\" wide\n", {"5\" wide"}},
        TextCase{"quoted_header", "\"image\",\"caption\"\nx.png,a\n", {"a"}},
        TextCase{"newline_in_header", "image,caption,\"more\nor less\"\nx.png,a,\n", {"a"}},
        TextCase{"missing_column",
                 kHeader + "x.png\nx.png,a\n",
                 {"a"},
                 {"t.csv, key 'row 1, line 2', offset 14: the row has 1 columns, the header 2"}},
        TextCase{
            "extra_column", kHeader + "x.png,a,b\nx.png,a\n", {"a"}, {"line 2', offset 14: the row has 3 columns"}},
        TextCase{"line_number_behind_newlines",
                 kHeader + "x.png,\"a\n\nb\"\n\nx.png\n",
                 {"a\n\nb"},
                 {"key 'row 2, line 6'"}},
        TextCase{"empty_caption",
                 kHeader + "x.png,\nx.png, \nx.png,a\n",
                 {"a"},
                 {"no caption: caption are empty", "no caption"}},
        TextCase{
            "nul",
            kHeader + "x.png,a" + std::string(1, '\0') + "b\n" + std::string("x\0.png", 6) + ",c\n",
            {},
            {"column 2 (caption): the caption holds a NUL", "column 1 (image): the path of the picture holds a NUL"}},
        TextCase{
            "bad_utf8", kHeader + "x.png,a\xFF\nx.png,b\n", {"b"}, {"column 2 (caption): the caption is not UTF-8"}},
        TextCase{"no_picture",
                 kHeader + "y.png,a\n,b\n.,c\n",
                 {},
                 {"column 1 (image): cannot open", "the path of the picture is empty", "is no regular file"}},
        TextCase{"quote_never_closed",
                 kHeader + "x.png,\"a\nx.png,b\nx.png,c\n",
                 {"b", "c"},
                 {"line 2', offset 14: column 2: a quote is never closed"}},
        TextCase{"text_behind_quote",
                 kHeader + "x.png,\"a\"b\nx.png,c\n",
                 {"c"},
                 {"column 2: text stands behind a closing quote"}},
        TextCase{"long_caption",
                 kHeader + "x.png," + std::string(70 << 10, 'a') + "\nx.png,b\n",
                 {"b"},
                 {"column 2 (caption): the caption has 71680 bytes"}},
        TextCase{"header_only", kHeader, {}, {}, "corpus texts: path: "},
        TextCase{"empty_file", "", {}, {}, "is empty; a header row"},
        TextCase{"no_such_column", "image,text\nx.png,a\n", {}, {}, "corpus texts: caption_keys: "},
        TextCase{"column_twice", "image,caption,caption\nx.png,a,b\n", {}, {}, "t.csv:1 has 2 columns 'caption'"},
        TextCase{"binary", std::string("\xFF\xFE\0i\0m\n", 7), {}, {}, "the header is not UTF-8"},
        TextCase{"open_quote_in_header", "image,\"caption\nx.png,a\n", {}, {}, "a quote is never closed"}),
    case_name);

TEST(CsvTableTest, NamesTheColumnsThatAreThere) {
  const TempDir dir;
  EXPECT_THAT(read_all(csv_corpus(dir, "image,text\nx.png,a\n")).refused,
              HasSubstr("t.csv:1 has no column 'caption'; its columns: image, text"));
}

TEST(CsvTableTest, DelimiterAndSeveralCaptions) {
  const TempDir dir;
  auto config = csv_corpus(dir, "image\ta\tb\nx.png\t\"one\ttwo\"\tthree\nx.png\t\tfour\n");
  config.delimiter = "\t";
  config.caption_keys = {"b", "a"};
  const auto corpus = open_corpus(config);
  EXPECT_THAT(corpus->read(0).captions, ElementsAre("three", "one\ttwo"));
  EXPECT_THAT(corpus->read(1).captions, ElementsAre("four"));
}

TEST(CsvTableTest, PathsAreRelativeToTheTableOrAbsolute) {
  const TempDir dir;
  write_test_file(dir / "pictures/y.png", "other");
  auto config = csv_corpus(dir, "");
  write_test_file(dir / "sub/t.csv", kHeader + "../x.png,a\n" + (dir / "pictures/y.png").string() + ",b\n");
  config.path = (dir / "sub/*.csv").string();
  const auto corpus = open_corpus(config);
  EXPECT_EQ(corpus->read(0).image.size(), 7U);
  EXPECT_EQ(corpus->read(1).image.size(), 5U);
}

/// Opening a pipe would wait for its writer for ever.
TEST(CsvTableTest, APipeAsPictureIsABadRecord) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  expect_outcome(read_all(csv_corpus(dir, kHeader + "pipe,a\nx.png,b\n")), {"b"}, {"is no regular file"}, "");
}

/// A quote that is open for more than 1 MiB costs its own row only.
TEST(CsvTableTest, AnOpenQuoteInALongFileCostsOneRow) {
  const TempDir dir;
  std::string table = kHeader + "x.png,\"open\n";
  for (int i = 0; i < 70'000; ++i) table += "x.png,a longer caption\n";
  const auto corpus = open_corpus(csv_corpus(dir, table));
  ASSERT_EQ(corpus->size(), 70'001);
  EXPECT_THROW(corpus->read(0), RecordError);
  EXPECT_EQ(corpus->read(70'000).captions.at(0), "a longer caption");
  std::string endless = kHeader;
  for (int i = 0; i < 1002; ++i) endless += "x.png,\"\"\"\"\"\"" + std::string(i + 1, ' ') + "\n\"\"\"\n";
  EXPECT_NO_THROW(read_all(csv_corpus(dir, endless)));  // ends, whatever comes of it
}

/// 100 MB in one line: found without holding it, refused without reading it.
TEST(CsvTableTest, AHugeLineIsRefusedWithoutReadingIt) {
  const TempDir dir;
  auto config = csv_corpus(dir, kHeader + "x.png,a\nx.png,");
  {
    std::ofstream table(dir / "t.csv", std::ios::app);
    const std::string piece(1 << 20, 'a');
    for (int i = 0; i < 100; ++i) table << piece;
    table << "\nx.png,b\n";
  }
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  expect_outcome(read_all(config), {"a", "b"}, {"line 3', offset 22: the row has 104857607 bytes; at most 16777216"},
                 "");
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 << 10);  // KiB
}

TEST(CsvRowTest, SplitsByTheStandard) {
  EXPECT_THAT(split_csv_row("a,b,c", ','), ElementsAre("a", "b", "c"));
  EXPECT_THAT(split_csv_row("", ','), ElementsAre(""));
  EXPECT_THAT(split_csv_row(",", ','), ElementsAre("", ""));
  EXPECT_THAT(split_csv_row("\"\",\"a\"\"\",", ','), ElementsAre("", "a\"", ""));
  EXPECT_THAT(split_csv_row("\"a,\nb\";c", ';'), ElementsAre("a,\nb", "c"));
  EXPECT_THROW(split_csv_row("\"a", ','), DataError);
  EXPECT_THROW(split_csv_row("\"a\"b", ','), DataError);
}

// ---- JSON ----------------------------------------------------------------------------------------------------------

CorpusConfig json_corpus(const TempDir& dir, const std::string& text) {
  write_test_file(dir / "x.png", "picture");
  write_test_file(dir / "t.json", text);
  auto config = text_corpus(dir / "t.json");
  config.format = "json";
  return config;
}

class JsonTest : public testing::TestWithParam<TextCase> {};

TEST_P(JsonTest, HasTheExpectedOutcome) {
  const TempDir dir;
  const auto& c = GetParam();
  expect_outcome(read_all(json_corpus(dir, c.text)), c.read, c.bad, c.refused);
}

std::string row_of(const std::string& caption) {
  return R"({"image": "x.png", "caption": ")" + caption + "\"}";
}

INSTANTIATE_TEST_SUITE_P(
    Files, JsonTest,
    testing::Values(
        TextCase{"lines", row_of("a") + "\n" + row_of("b"), {"a", "b"}},
        TextCase{"lines_with_blank_ones", "\n" + row_of("a") + "\r\n \t\n" + row_of("b") + "\n\n", {"a", "b"}},
        TextCase{"array", "[" + row_of("a") + "," + row_of("b") + "]", {"a", "b"}},
        TextCase{"array_over_lines", " [\n" + row_of("a") + " ,\n\n" + row_of("b") + "\n]\n", {"a", "b"}},
        TextCase{"brackets_in_strings",
                 "[" + row_of("a ], [ } \\\" \\\\") + "," + row_of("b") + "]",
                 {"a ], [ } \" \\", "b"}},
        TextCase{"byte_order_mark", "\xEF\xBB\xBF[" + row_of("a") + "]", {"a"}},
        TextCase{"list_of_captions", R"([{"image": "x.png", "caption": ["a", "b"], "more": {"x": [1, [2]]}}])", {"a"}},
        TextCase{"row_that_is_no_object",
                 "[1, " + row_of("a") + ", \"x\", null]",
                 {"a"},
                 {"no JSON object", "no JSON object", "no JSON object"}},
        TextCase{"empty_elements", "[" + row_of("a") + ",,]", {"a"}},
        TextCase{
            "broken_element", "[{\"image\": x}, " + row_of("a") + "]", {"a"}, {"the row cannot be parsed as JSON"}},
        TextCase{
            "missing_comma", "[" + row_of("a") + row_of("b") + "," + row_of("c") + "]", {"c"}, {"cannot be parsed"}},
        TextCase{"array_cut", "[" + row_of("a") + ",\n{\"image\": \"x.p", {"a"}, {"row 2, line 2"}},
        TextCase{"array_cut_in_an_escape", "[" + row_of("a") + ",\"\\", {"a"}, {"cannot be parsed"}},
        TextCase{"stray_bracket", "[" + row_of("a") + "}, " + row_of("b") + "]", {"b"}, {"cannot be parsed"}},
        TextCase{"text_behind_the_array", "[" + row_of("a") + "]\n" + row_of("b"), {"a"}, {"row 2, line 1"}},
        TextCase{"broken_line",
                 row_of("a") + "\n{\"image\n" + row_of("b") + "\n",
                 {"a", "b"},
                 {"key 'row 2, line 2', offset 35: the row cannot be parsed as JSON"}},
        TextCase{"two_values_in_a_line", row_of("a") + row_of("b") + "\n", {}, {"cannot be parsed"}},
        TextCase{"no_image",
                 "{\"caption\": \"a\"}\n{\"image\": 3, \"caption\": \"a\"}\n",
                 {},
                 {"key 'image' is missing or no string", "key 'image' is missing or no string"}},
        TextCase{"no_caption",
                 "{\"image\": \"x.png\"}\n{\"image\": \"x.png\", \"caption\": 5}\n",
                 {},
                 {"none of the keys caption is there", "neither a string nor a list"}},
        TextCase{"nul_in_path", "{\"image\": \"x\\u0000.png\", \"caption\": \"a\"}", {}, {"holds a NUL"}},
        TextCase{"bad_utf8", row_of("\xFF") + "\n" + row_of("a"), {"a"}, {"cannot be parsed"}},
        TextCase{"deep", std::string(100'000, '['), {}, {"cannot be parsed"}},
        TextCase{"deep_line", row_of("a") + "\n" + std::string(100'000, '{') + "\n", {"a"}, {"cannot be parsed"}},
        TextCase{"empty_file", "", {}, {}, "hold no record"}, TextCase{"empty_array", "[]", {}, {}, "hold no record"}),
    case_name);

// ---- UniCL's pairs -------------------------------------------------------------------------------------------------

struct Pair {
  std::string text, image;
};
CorpusConfig unicl_corpus(const TempDir& dir, const Pair& pair) {
  write_test_file(dir / "t.tsv", pair.text);
  write_test_file(dir / "i.tsv", pair.image);
  auto config = text_corpus(dir / "t.tsv");
  config.format = "unicl_tsv";
  config.images = (dir / "i.tsv").string();
  return config;
}

std::string text_row(const std::string& id, const std::string& caption) {
  return id + "\t{\"captions\": [\"" + caption + "\"]}\n";
}
std::string image_row(const std::string& id, const std::string& base64 = "cGljdHVyZQ==") {
  return id + "\t" + base64 + "\n";
}

struct PairCase {
  const char* name;
  Pair pair;
  std::vector<std::string> read, bad = {};
  std::string refused = "";
};
class UniclTest : public testing::TestWithParam<PairCase> {};

TEST_P(UniclTest, HasTheExpectedOutcome) {
  const TempDir dir;
  const auto& c = GetParam();
  expect_outcome(read_all(unicl_corpus(dir, c.pair)), c.read, c.bad, c.refused);
}

const std::string kTexts = text_row("1", "a") + text_row("2", "b"), kImages = image_row("1") + image_row("2");
INSTANTIATE_TEST_SUITE_P(
    Pairs, UniclTest,
    testing::Values(
        PairCase{"sound", {kTexts, kImages}, {"a", "b"}},
        PairCase{"crlf_and_no_final_newline",
                 {"1\t{\"captions\": [\"a\"]}\r\n2\t{\"captions\": [\"b\"]}", kImages},
                 {"a", "b"}},
        PairCase{"missing_column",
                 {"1\n" + text_row("2", "b"), kImages},
                 {"b"},
                 {"t.tsv, key 'row 1, line 1', offset 0: the row of the text shard has one column"}},
        PairCase{"extra_column",
                 {kTexts, "1\tx\tcA==\n" + image_row("2")},
                 {"b"},
                 {"i.tsv:1: the row of the image shard has more than two columns"}},
        PairCase{"empty_line",
                 {"1\t{\"captions\": [\"a\"]}\n\n" + text_row("3", "c"), kImages + image_row("3")},
                 {"a", "c"},
                 {"key 'row 2, line 2'"}},
        PairCase{"bad_base64",
                 {kTexts, image_row("1", "cG!j") + image_row("2", "cGl")},
                 {"b"},
                 {"i.tsv:1: not base64: '!' at byte 2"}},
        PairCase{
            "empty_picture", {kTexts, image_row("1", "") + image_row("2")}, {"b"}, {"not base64: the text is empty"}},
        PairCase{"ids_differ",
                 {kTexts, image_row("1") + image_row("x")},
                 {"a"},
                 {"i.tsv:2: the picture's id is 'x', the text's '2'"}},
        PairCase{"image_shard_cut", {kTexts, image_row("1") + "2\tcGl"}, {"a", "b"}},
        PairCase{"fewer_pictures", {kTexts, image_row("1")}, {"a"}, {"i.tsv:2: the image shard ends after 1 rows"}},
        PairCase{"fewer_texts", {text_row("1", "a"), kImages}, {"a"}, {"the table ends after 1 rows"}},
        PairCase{"bad_json",
                 {"1\t{\"captions\"\n" + text_row("2", "b"), kImages},
                 {"b"},
                 {"column 2 cannot be parsed as JSON"}},
        PairCase{"no_captions",
                 {"1\t{\"source\": \"x\"}\n" + text_row("2", "b"), kImages},
                 {"b"},
                 {"none of the keys captions is there"}},
        PairCase{"empty_files", {"", ""}, {}, {}, "hold no record"}),
    [](const auto& which) { return which.param.name; });

TEST(UniclTsvTest, ShardsComeInPairs) {
  const TempDir dir;
  auto config = unicl_corpus(dir, {kTexts, kImages});
  write_test_file(dir / "t2.tsv", text_row("9", "z"));
  config.path = (dir / "t*.tsv").string();
  EXPECT_THAT(read_all(config).refused, HasSubstr("images: names 1 shards for the 2 of path"));
  write_test_file(dir / "i2.tsv", image_row("9"));
  config.images = (dir / "i{,2}.tsv").string();
  EXPECT_THAT(read_all(config).read, ElementsAre("a", "b", "z"));
  config.images = (dir / "none-*.tsv").string();
  EXPECT_THAT(read_all(config).refused, HasSubstr("corpus texts: images: "));
}

/// The released writer counts characters: wrong behind the first caption that is not ASCII.
TEST(UniclTsvTest, LineidxIsMended) {
  const TempDir dir;
  const auto texts = text_row("1", "caf\xC3\xA9") + text_row("2", "b") + text_row("3", "c");
  const auto config = unicl_corpus(dir, {texts, kImages + image_row("3")});
  write_test_file(dir / "t.lineidx", "0\n26\n49\n");
  EXPECT_THAT(read_all(config).read, ElementsAre("caf\xC3\xA9", "b", "c"));
  const auto content = [&](const char* name) {
    std::ifstream in(dir / name);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const auto second = text_row("1", "caf\xC3\xA9").size(), third = second + text_row("2", "b").size();
  EXPECT_EQ(content("t.lineidx"), "0\n" + std::to_string(second) + "\n" + std::to_string(third) + "\n");
  EXPECT_EQ(content("i.lineidx"), "0\n15\n30\n");
  const auto right = content("t.lineidx");
  for (const std::string wrong : {"", "0\n26\n49\n", "1\n26\n51\n"}) {  // also where the index is there already
    write_test_file(dir / "t.lineidx", wrong);
    EXPECT_EQ(read_all(config).read.size(), 3U);
    EXPECT_EQ(content("t.lineidx"), right) << wrong;
  }
  std::filesystem::remove(dir / "t.lineidx");
  auto elsewhere = config;  // with an index_dir nothing is written beside the shards
  elsewhere.index_dir = (dir / "index").string();
  EXPECT_EQ(read_all(elsewhere).read.size(), 3U);
  EXPECT_FALSE(std::filesystem::exists(dir / "t.lineidx"));
  EXPECT_EQ(read_all(config).read.size(), 3U);
  EXPECT_EQ(content("t.lineidx"), right);
  std::filesystem::remove(dir / "t.lineidx");
  std::filesystem::create_directory(dir / "t.lineidx");  // cannot be written, and is not needed
  EXPECT_EQ(read_all(config).read.size(), 3U);
}

/// Its length is known without the text: offsets of 1, 2 and 4 digits.
TEST(UniclTsvTest, LineidxOfLongRowsIsLeftAlone) {
  const TempDir dir;
  const auto config =
      unicl_corpus(dir, {"1\tx\n2\t" + std::string(1200, 'y') + "\n" + text_row("3", "c") + text_row("4", "d"),
                         kImages + image_row("3") + image_row("4")});
  read_all(config);
  const auto path = dir / "t.lineidx";
  const auto written = std::filesystem::last_write_time(path);
  read_all(config);
  EXPECT_EQ(std::filesystem::last_write_time(path), written);
}

/// What the program writes beside shards is no shard of the second run.
TEST(UniclTsvTest, OwnFilesAreNotMeantByWildcards) {
  const TempDir dir;
  auto config = unicl_corpus(dir, {kTexts, kImages});
  std::filesystem::rename(dir / "t.tsv", dir / "text-0.tsv");
  std::filesystem::rename(dir / "i.tsv", dir / "image-0.tsv");
  config.path = (dir / "text-*").string();
  config.images = (dir / "image-*").string();
  for (const char* own : {"text-0.phrases", "text-0.phrases.part", "text-0.tsv.tidx.tmp-12-0", "text-0.tar.tmp"})
    write_test_file(dir / own, "no shard");
  EXPECT_THAT(read_all(config).read, ElementsAre("a", "b"));
  EXPECT_TRUE(std::filesystem::exists(dir / "text-0.lineidx"));
  EXPECT_THAT(read_all(config).read, ElementsAre("a", "b"));
}

/// Rows of the released files have `class_name`, others `class`.
TEST(UniclTsvTest, ClassStandsForClassName) {
  const TempDir dir;
  auto config =
      unicl_corpus(dir, {"1\t{\"class\": \"cat\"}\n2\t{\"class_name\": \"dog\", \"class\": \"cat\"}\n", kImages});
  config.kind = "image_label";
  EXPECT_THAT(read_all(config).read, ElementsAre("cat", "dog"));
  config.label_key = "class_name";  // a key that is named is that key alone
  const auto strict = read_all(config);
  EXPECT_THAT(strict.read, ElementsAre("dog"));
  ASSERT_EQ(strict.bad.size(), 1U);
  EXPECT_THAT(strict.bad[0], HasSubstr("there is no key 'class_name'"));
}

TEST(Base64Test, VectorsOfRfc4648) {
  EXPECT_EQ(encode_base64(""), "");
  EXPECT_EQ(encode_base64("f"), "Zg==");
  EXPECT_EQ(encode_base64("fo"), "Zm8=");
  EXPECT_EQ(encode_base64("foo"), "Zm9v");
  EXPECT_EQ(encode_base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(encode_base64("\xFB\xFF"), "+/8=");
}

TEST(Base64Test, RoundTripsAndRefuses) {
  for (int length = 1; length < 70; ++length) {
    std::string bytes;
    for (int i = 0; i < length; ++i) bytes += static_cast<char>(i * 37 + length);
    const auto text = encode_base64(bytes);
    const auto decoded = decode_base64(text);
    EXPECT_EQ(std::string(decoded.begin(), decoded.end()), bytes);
    const auto bare = decode_base64(text.substr(0, text.find('=')));
    EXPECT_EQ(bare, decoded);
  }
  for (const std::string bad :
       {"", "=", "====", "A", "AAAAA", "AA=A", "A===", "AA =", "AA\nA", "AAA=AAA=", "AA-_", "AA="}) {
    EXPECT_THROW(decode_base64(bad), DataError) << bad;
  }
}

// ---- labels --------------------------------------------------------------------------------------------------------

struct LabelCase {
  const char* name;
  std::string label, expected;
};
class TableLabelTest : public testing::TestWithParam<LabelCase> {};

TEST_P(TableLabelTest, IsAnIndexOrAName) {
  const auto& c = GetParam();
  const TempDir dir;
  write_test_file(dir / "classes.txt", "cat|kitty\ngolden retriever\n");
  auto config = csv_corpus(dir, "image,label\nx.png,\"" + c.label + "\"\n");
  config.kind = "image_label";
  config.class_names = (dir / "classes.txt").string();
  const auto outcome = read_all(config);
  if (c.expected == "cat" || c.expected == "golden retriever") {
    EXPECT_THAT(outcome.read, ElementsAre(c.expected));
  } else {
    ASSERT_EQ(outcome.bad.size(), 1U);
    EXPECT_THAT(outcome.bad[0], HasSubstr(c.expected));
  }
}

INSTANTIATE_TEST_SUITE_P(Values, TableLabelTest,
                         testing::Values(LabelCase{"index", "1", "golden retriever"},
                                         LabelCase{"name", " Golden_Retriever ", "golden retriever"},
                                         LabelCase{"synonym", "KITTY", "cat"},
                                         LabelCase{"negative", "-1", "label '-1' is neither a class index, 0 to 1"},
                                         LabelCase{"too_large", "2", "label '2' is no class index: 0 to 1"},
                                         LabelCase{"nan", "nan", "label 'nan' is neither"},
                                         LabelCase{"fraction", "1.0", "label '1.0' is neither"},
                                         LabelCase{"text", "dog", "label 'dog' is neither"},
                                         LabelCase{"empty", " ", "column 2 (label): the label is empty"},
                                         LabelCase{"dash", "-", "the label is empty"},
                                         LabelCase{"two_lines", "a\nb", "is no name"},
                                         LabelCase{"not_utf8", "a\xFF", "is no name"},
                                         LabelCase{"long", std::string(2000, 'a'), "is no name"}),
                         [](const auto& which) { return which.param.name; });

TEST(TableLabelNamesTest, AreTakenFromTheDataWithoutAList) {
  const TempDir dir;
  auto config = csv_corpus(dir, "image,label\nx.png,zebra\nx.png,Golden_retriever\nx.png,golden retriever\nx.png,\n");
  config.kind = "image_label";
  for (int time = 0; time < 2; ++time) {  // built, then from the index file
    const auto corpus = open_corpus(config);
    EXPECT_THAT(corpus->class_names(), ElementsAre(ElementsAre("Golden_retriever"), ElementsAre("zebra")));
    EXPECT_EQ(corpus->read(0).label, 1);
    EXPECT_EQ(corpus->read(1).label, 0);
    EXPECT_EQ(corpus->read(2).label, 0);
    EXPECT_THROW(corpus->read(3), RecordError);
  }
  EXPECT_TRUE(std::filesystem::exists(dir / "t.csv.labels.tidx"));
  config = csv_corpus(dir, "image,label,kind\nx.png,zebra,animal\n");  // another column: another list
  config.kind = "image_label";
  EXPECT_THAT(open_corpus(config)->class_names(), ElementsAre(ElementsAre("zebra")));
  config.label_key = "kind";
  EXPECT_THAT(open_corpus(config)->class_names(), ElementsAre(ElementsAre("animal")));
}

TEST(TableLabelNamesTest, NumbersNeedAList) {
  const TempDir dir;
  for (const auto* label : {"0", "-1", "1.0", "1e3"}) {
    auto config = csv_corpus(dir, std::string("image,label\nx.png,") + label + "\n");
    config.kind = "image_label";
    EXPECT_THAT(read_all(config).refused, HasSubstr(std::string("the label '") + label + "' is a number"));
  }
  auto config = csv_corpus(dir, "image,label\nx.png,\n");
  config.kind = "image_label";
  EXPECT_THAT(read_all(config).refused, HasSubstr("label_key: no row has a class under 'label'"));
}

// ---- zip archives --------------------------------------------------------------------------------------------------

CorpusConfig zip_corpus(const TempDir& dir, const std::string& zip, const std::string& map) {
  write_test_file(dir / "a.zip", zip);
  write_test_file(dir / "map.txt", map);
  auto config = text_corpus(dir / "a.zip");
  config.format = "zip_map";
  config.map = (dir / "map.txt").string();
  return config;
}

struct ZipCase {
  const char* name;
  std::string zip;
  std::vector<std::string> read, bad = {};
  std::string refused = "";
};
class ZipTest : public testing::TestWithParam<ZipCase> {};

TEST_P(ZipTest, HasTheExpectedOutcome) {
  const TempDir dir;
  const auto& c = GetParam();
  expect_outcome(read_all(zip_corpus(dir, c.zip, "d/a.png\tcaption a\nd/b.png\tcaption b\n")), c.read, c.bad,
                 c.refused);
}

const std::string kPicture(1000, 'p');
ZipWriter zip_of(const ZipOptions& a, const ZipOptions& b = {}) {
  ZipWriter zip;
  zip.file("d/", "").file("d/a.png", kPicture, a).file("d/b.png", kPicture, b);
  return zip;
}
std::string cut(std::string text, std::size_t from_end) {
  text.resize(text.size() - from_end);
  return text;
}
std::string with_byte(std::string text, std::size_t at, char value) {
  text[at] = value;
  return text;
}
const std::vector<std::string> kBoth = {"caption a", "caption b"}, kB = {"caption b"};

INSTANTIATE_TEST_SUITE_P(
    Archives, ZipTest,
    testing::Values(
        ZipCase{"stored_and_deflated", zip_of({}, {.deflate = true}).bytes(), kBoth},
        ZipCase{"zip64_entries", zip_of({.zip64 = true}, {.deflate = true, .zip64 = true}).bytes(), kBoth},
        ZipCase{"zip64_end", zip_of({}).bytes(true), kBoth},
        ZipCase{"comment", zip_of({}).bytes(false, "PK\5\6 hello"), kBoth},
        ZipCase{"encrypted", zip_of({.flags = 1}).bytes(), kB, {"a.zip: 'd/a.png' is encrypted"}},
        ZipCase{"method", zip_of({.method = 12}).bytes(), kB, {"'d/a.png' is packed by method 12"}},
        ZipCase{"checksum", zip_of({.crc_xor = 1}).bytes(), kB, {"its checksum is wrong"}},
        ZipCase{"bomb",
                zip_of({.deflate = true, .size = 2'000'000'000}).bytes(),
                kB,
                {"has 2000000000 bytes; at most 268435456"}},
        ZipCase{"huge", zip_of({.size = 5'000'000'000, .zip64 = true}).bytes(), kB, {"has 4 GiB or more"}},
        ZipCase{"longer_than_it_says",
                zip_of({.deflate = true, .size = 10}).bytes(),
                kB,
                {"cannot be inflated to its size"}},
        ZipCase{"shorter_than_it_says",
                zip_of({.deflate = true, .size = 2000}).bytes(),
                kB,
                {"cannot be inflated to its size"}},
        ZipCase{"stored_with_two_sizes", zip_of({.size = 10}).bytes(), kB, {"is stored, but has two sizes"}},
        ZipCase{"damaged_stream", with_byte(zip_of({.deflate = true}).bytes(), 32 + 30 + 9, '\xFF'), kB, {"'d/a.png'"}},
        ZipCase{"missing",
                ZipWriter().file("d/b.png", kPicture).bytes(),
                kB,
                {"there is no file 'd/a.png' in the archive"}},
        ZipCase{"twice",
                ZipWriter().file("d/a.png", "1").file("d/a.png", "2").file("d/b.png", kPicture).bytes(),
                kB,
                {"has two files 'd/a.png'"}},
        ZipCase{"local_header_gone", with_byte(zip_of({}).bytes(), 32, 'X'), kB, {"has no local header"}},
        ZipCase{"cut", cut(zip_of({}).bytes(), 1), {}, {}, "it has no end record"},
        ZipCase{"front_cut_off", zip_of({}).bytes().substr(1000), {}, {}, "outside the file"},
        ZipCase{"no_zip", std::string(3000, 'x'), {}, {}, "is no zip archive that can be read: it has no end record"},
        ZipCase{"empty_file", "", {}, {}, "it has no end record"},
        ZipCase{"directory_damaged",
                with_byte(zip_of({}).bytes(), zip_of({}).bytes().size() - 22 - 53, 'X'),
                {},
                {},
                "entry 2 of its directory is damaged"}),
    [](const auto& which) { return which.param.name; });

/// No byte of an archive may crash the reader or make it read a wrong picture as a right one.
TEST(ZipIndexTest, AnyDamagedByteIsNoticedOrHarmless) {
  const TempDir dir;
  const auto path = (dir / "a.zip").string();
  const auto sound = zip_of({.deflate = true}, {.zip64 = true}).bytes(true);
  int refused = 0, bad = 0;
  for (std::size_t at = 0; at < sound.size(); ++at) {
    write_test_file(path, with_byte(sound, at, static_cast<char>(sound[at] ^ (1 << at % 8))));
    try {
      const InputFile zip(path);
      const auto index = ZipIndex::build(zip);
      for (const auto* name : {"d/a.png", "d/b.png"}) {
        try {
          const auto bytes = read_zip_entry(zip, index, name, 1 << 20);
          EXPECT_EQ(std::string(bytes.begin(), bytes.end()), kPicture) << at;
        } catch (const DataError&) {
          ++bad;
        }
      }
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
  EXPECT_GT(bad, 1000);  // most bytes are the stored picture's
}

TEST(ZipMapTest, LinesOfTheMap) {
  const TempDir dir;
  const auto zip = zip_of({}).bytes();
  expect_outcome(read_all(zip_corpus(dir, zip, "d/a.png\n\nd/b.png\tb\tc\nd/b.png\tb")), {"b"},
                 {"line 1', offset 0: the line of the map has not two columns", "line 2'", "line 3'"}, "");
  write_test_file(dir / "classes.txt", "cat\ndog\n");
  auto config = zip_corpus(dir, zip, "d/a.png\t1\nd/b.png\t2\nd/b.png\t0\n");
  config.kind = "image_label";
  EXPECT_THAT(read_all(config).refused, HasSubstr("class_names: is not given; zip_map holds class indices only"));
  config.class_names = (dir / "classes.txt").string();
  expect_outcome(read_all(config), {"dog", "cat"}, {"label '2' is no class index: 0 to 1"}, "");
  config.map = (dir / "{map,map}.txt").string();
  EXPECT_EQ(read_all(config).read.size(), 2U);  // named twice, listed once
  config.map = (dir / "gone.txt").string();
  EXPECT_THAT(read_all(config).refused, HasSubstr("map: "));
}

}  // namespace
}  // namespace triptych

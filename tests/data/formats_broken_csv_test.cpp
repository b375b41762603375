// Comma-separated tables and labels that are damaged, odd or hostile: which records are read, which are bad and why, or
// why the corpus is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "data/formats/csv_row.h"
#include "tests/data/read_outcome.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

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
        TextCase{"quote_closed_in_another_row",
                 kHeader + "x.png,\"a\nx.png,b\nx.png,c\nx.png,5\"\nx.png,d\n",
                 {"b", "c", "5\"", "d"},
                 {"line 2', offset 14: column 2: a quote is never closed"}},
        TextCase{"quote_closed_by_the_next_rows_quote",
                 "caption,image\n\"a,x.png\n\"b\" c,x.png\nd,x.png\n",
                 {"d"},
                 {"line 2', offset 14: column 1: a quote is never closed", "text stands behind a closing quote"}},
        TextCase{"lines_of_a_caption_that_split",
                 kHeader + "x.png,\"a\nb, c\nd, e\nf\"\nx.png,g\n",
                 {"a\nb, c\nd, e\nf", "g"}},
        TextCase{"two_lines_that_split", kHeader + "x.png,\"a\nb, c\"\nx.png,d\n", {"a\nb, c", "d"}},
        TextCase{"caption_of_lines_in_the_first_column",
                 "caption,image\n\"a\nb, c\nd\",x.png\ne,x.png\n",
                 {"a\nb, c\nd", "e"}},
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

/// As Conceptual Captions are shipped: tabs, no quoting, captions that begin with a quote.
TEST(CsvTableTest, QuotesThatAreTextCostNoOtherRow) {
  const TempDir dir;
  std::string table = "caption\timage\n";
  for (int i = 0; i < 1000; ++i) {
    table += (i == 10    ? "\"stray "
              : i == 700 ? "12\" "
              : i == 800 ? "\"two\" "
                         : "row ") +
             std::to_string(i) + "\tx.png\n";
  }
  auto config = csv_corpus(dir, table);
  config.delimiter = "\t";
  const auto standard = read_all(config);
  EXPECT_EQ(standard.read.size(), 998U);
  ASSERT_EQ(standard.bad.size(), 2U);
  EXPECT_THAT(standard.bad[0], HasSubstr("key 'row 11, line 12'"));
  EXPECT_THAT(standard.bad[0], HasSubstr("a quote is never closed; quotes: none takes quotes as text"));
  config.quotes = "none";
  const auto unquoted = read_all(config);
  ASSERT_EQ(unquoted.read.size(), 1000U);
  EXPECT_EQ(unquoted.read[10], "\"stray 10");
  EXPECT_EQ(unquoted.read[800], "\"two\" 800");
}

TEST(CsvTableTest, ManyQuotesThatAreTextAreNamed) {
  const TempDir dir;
  std::string table = kHeader;
  for (int i = 0; i < 1100; ++i) table += "x.png,\"a\nx.png,b\nx.png,5\"\n";
  auto config = csv_corpus(dir, table);
  EXPECT_THAT(read_all(config).refused, HasSubstr("If quotes are text in it, set quotes: none"));
  config.quotes = "none";
  EXPECT_EQ(read_all(config).read.size(), 3300U);
}

/// As in a file of millions of rows.
TEST(CsvTableTest, ManyQuotesAmongManyMoreRowsAreBadRecords) {
  const TempDir dir;
  std::string table = kHeader;
  for (int i = 0; i < 1100; ++i) {
    for (int row = 0; row < 12; ++row) table += "x.png,b\n";
    table += "x.png,\"a\nx.png,b\nx.png,5\"\n";
  }
  const auto corpus = open_corpus(csv_corpus(dir, table));
  EXPECT_EQ(corpus->size(), 1100 * 15);
  EXPECT_THROW(corpus->read(12), RecordError);
  EXPECT_EQ(corpus->read(14).captions.at(0), "5\"");
}

TEST(CsvTableTest, WithoutQuotesEmptyLinesAreNoRows) {
  const TempDir dir;
  auto config = csv_corpus(dir, "\"image\",caption\r\n\r\nx.png,\"a\r\n\nx.png\nx.png,b\"\n\n");
  config.quotes = "none";
  config.image_key = "\"image\"";
  expect_outcome(read_all(config), {"\"a", "b\""}, {"row 2, line 5"}, "");
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
  EXPECT_THAT(split_csv_row("\"a,\"b\"\"", ',', false), ElementsAre("\"a", "\"b\"\""));
}

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

}  // namespace
}  // namespace triptych

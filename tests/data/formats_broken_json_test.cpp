// JSON tables that are damaged, odd or hostile, and what comes of each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/read_outcome.h"

namespace triptych {
namespace {

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
        TextCase{"broken_element",
                 "[{\"image\": x}, " + row_of("a") + "]",
                 {"a"},
                 {"row 1, line 1', offset 1: the row cannot be parsed as JSON: wrong at its byte 11"}},
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
                 {"no caption: caption absent or empty", "neither a string nor a list"}},
        TextCase{"empty_and_null_captions",
                 R"({"image": "x.png", "caption": ""})"
                 "\n"
                 R"({"image": "x.png", "caption": null})"
                 "\n"
                 R"({"image": "x.png", "caption": [null, " ", "a"]})"
                 "\n"
                 R"({"image": "x.png", "caption": [null, 5]})",
                 {"a"},
                 {"no caption: caption absent or empty", "no caption", "something that is no string"}},
        TextCase{"numbers_that_json_has_not",
                 "[{\"score\": NaN, \"x\": [Infinity,-Infinity, \"NaN\"], " + row_of("NaN, \\\" NaN").substr(1) +
                     ", {\"image\": \"x.png\", \"caption\": [NaN, \"b\"]}]",
                 {"NaN, \" NaN", "b"}},
        TextCase{"nan_as_caption_and_image",
                 "{\"image\": \"x.png\", \"caption\": NaN}\n{\"image\": NaN, \"caption\": \"a\"}\n",
                 {},
                 {"no caption: caption absent or empty", "key 'image' is missing or no string"}},
        TextCase{"wrong_behind_nan",
                 "{\"a\": NaN, \"b\": -Infinity, \"c\": x}\n{\"a\": NaNs}\n{NaN: 1}\n" + row_of("a"),
                 {"a"},
                 {"wrong at its byte 33", "wrong at its byte 7", "wrong at its byte 2"}},
        TextCase{"nul_in_path", "{\"image\": \"x\\u0000.png\", \"caption\": \"a\"}", {}, {"holds a NUL"}},
        TextCase{"bad_utf8", row_of("\xFF") + "\n" + row_of("a"), {"a"}, {"cannot be parsed"}},
        TextCase{"deep", std::string(100'000, '['), {}, {"nested deeper than 100 levels"}},
        TextCase{"deep_line", row_of("a") + "\n" + std::string(100'000, '{') + "\n", {"a"}, {"nested deeper"}},
        TextCase{"empty_file", "", {}, {}, "hold no record"}, TextCase{"empty_array", "[]", {}, {}, "hold no record"}),
    case_name);

/// An array of 1,000 rows, of which row 5 (in line 6) is `fifth`.
std::string rows_around(const std::string& fifth, const std::string& between = ",\n") {
  std::string text = "[\n";
  for (int row = 1; row <= 1000; ++row) {
    text += (row > 1 ? between : "") + (row == 5 ? fifth : row_of(std::to_string(row)));
  }
  return text + "\n]\n";
}

TEST(JsonTest, ALostBracketOrQuoteCostsItsRow) {
  const std::string no_brace = R"({"image": "x.png", "caption": "5")",
                    no_quote = R"({"image": "x.png", "caption": "5})",
                    no_first_quote = R"({image": "x.png", "caption": "5"})",
                    no_list_end = R"({"image": "x.png", "caption": ["5"})", line_end = row_of("5\n5"),
                    nested = "{\"image\": \"x.png\", \"more\": [\n  {\"x\": 1},\n  {\"x\": 2}]",
                    long_row = R"({"image": "x.png", "caption": ")" + std::string(17 << 20, 'x') + "\"";
  for (const auto& fifth : {no_brace, no_quote, no_first_quote, no_list_end, line_end, nested, long_row}) {
    SCOPED_TRACE(fifth.substr(0, 60));
    const TempDir dir;
    const auto outcome = read_all(json_corpus(dir, rows_around(fifth)));
    EXPECT_EQ(outcome.refused, "");
    EXPECT_EQ(outcome.read.size(), 999U);
    ASSERT_EQ(outcome.bad.size(), 1U);
    EXPECT_THAT(outcome.bad[0], testing::HasSubstr("key 'row 5, line 6'"));
  }
}

/// Two lost quotes make a pair; the line end in the string tells.
TEST(JsonTest, LostQuotesOfTwoRowsDoNotTakeTheRowsBetween) {
  const TempDir dir;
  auto text = rows_around(R"({"image": "x.png", "caption": "5})");
  text.replace(text.find(row_of("900")), row_of("900").size(), R"({"image": "x.png", "caption": "900})");
  const auto outcome = read_all(json_corpus(dir, text));
  EXPECT_EQ(outcome.read.size(), 998U);
  EXPECT_EQ(outcome.bad.size(), 2U);
}

TEST(JsonTest, LinesAreCountedBehindAnOpenRow) {
  const TempDir dir;
  expect_outcome(read_all(json_corpus(dir, "[\n  {\"image\": \"x.png\",\n   \"caption\": \"a\n  },\n  " + row_of("b") +
                                               ",\n  {\"image\": \"x.png\"\n,\n  {}\n]")),
                 {"b"}, {"row 1, line 2", "row 3, line 6", "row 4, line 8"}, "");
}

TEST(JsonTest, AnOpenRowThatHidesOthersIsRefused) {
  const TempDir dir;
  EXPECT_THAT(read_all(json_corpus(dir, rows_around("{\"image\": 5", ", "))).refused,
              testing::HasSubstr("t.json:2: the row has a quote or a bracket that is never closed"));
  expect_outcome(read_all(json_corpus(dir, "[" + row_of("a") + ", {\"image\": \"x.png\"]")), {"a"}, {"row 2, line 1"},
                 "");
}

/// What a row holds may begin lines as rows do, as long as it is whole.
TEST(JsonTest, ObjectsInARowAreNoRows) {
  const TempDir dir;
  const std::string nested = "{\"image\": \"x.png\", \"more\": [\n{\"x\": 1},\n{\"x\": 2}\n], \"caption\": \"5\"}";
  EXPECT_EQ(read_all(json_corpus(dir, rows_around(nested))).read.size(), 1000U);
}

TEST(JsonTest, TooManyOpenRowsAreNoJson) {
  const TempDir dir;
  std::string text = "[";
  for (int row = 0; row < 1100; ++row) text += "\n{\"image\":";
  EXPECT_THAT(read_all(json_corpus(dir, text)).refused, testing::HasSubstr("more than 1000 rows"));
}

TEST(JsonTest, EmptyAndNullCaptionsAreAsGoodAsAbsent) {
  const TempDir dir;
  auto config = json_corpus(dir, R"({"image": "x.png", "caption": "", "title": "a", "alt": null})"
                                 "\n"
                                 R"({"image": "x.png", "caption": "b", "title": [], "alt": ["", null]})"
                                 "\n"
                                 R"({"image": "x.png", "caption": null, "title": " \n", "alt": []})");
  config.caption_keys = {"caption", "title", "alt"};
  expect_outcome(read_all(config), {"a", "b"}, {"no caption: caption, title, alt absent or empty"}, "");
}

TEST(JsonTest, NanIsNoLabel) {
  const TempDir dir;
  auto config = json_corpus(dir, R"({"image": "x.png", "label": NaN})"
                                 "\n"
                                 R"({"image": "x.png", "label": "cat", "score": Infinity})");
  config.kind = "image_label";
  expect_outcome(read_all(config), {"cat"}, {"key 'label' is null"}, "");
}

}  // namespace
}  // namespace triptych

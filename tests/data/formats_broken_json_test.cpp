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
        TextCase{"nul_in_path", "{\"image\": \"x\\u0000.png\", \"caption\": \"a\"}", {}, {"holds a NUL"}},
        TextCase{"bad_utf8", row_of("\xFF") + "\n" + row_of("a"), {"a"}, {"cannot be parsed"}},
        TextCase{"deep", std::string(100'000, '['), {}, {"nested deeper than 100 levels"}},
        TextCase{"deep_line", row_of("a") + "\n" + std::string(100'000, '{') + "\n", {"a"}, {"nested deeper"}},
        TextCase{"empty_file", "", {}, {}, "hold no record"}, TextCase{"empty_array", "[]", {}, {}, "hold no record"}),
    case_name);

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

}  // namespace
}  // namespace triptych

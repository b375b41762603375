// UniCL's pairs of text and base64 tables that are damaged, odd or hostile, and what comes of each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "data/formats/base64.h"
#include "tests/data/read_outcome.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

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
        PairCase{"nan", {"1\t{\"score\": NaN, \"captions\": [\"a\"]}\n" + text_row("2", "b"), kImages}, {"a", "b"}},
        PairCase{"no_captions",
                 {"1\t{\"source\": \"x\"}\n" + text_row("2", "b"), kImages},
                 {"b"},
                 {"captions absent or empty"}},
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
  for (const bool wrong : {true, false}) {
    write_test_file(dir / "t.lineidx", wrong ? "0\n26\n49\n" : right);
    testing::internal::CaptureStderr();
    EXPECT_EQ(read_all(elsewhere).read.size(), 3U);
    const auto log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(log.find("t.lineidx does not hold the byte offsets of its shard") != std::string::npos, wrong) << log;
    EXPECT_EQ(log.find("is not used; for other readers have it written anew") != std::string::npos, wrong) << log;
    EXPECT_EQ(log.find("i.lineidx"), std::string::npos) << log;
  }
  std::filesystem::remove(dir / "t.lineidx");
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

}  // namespace
}  // namespace triptych

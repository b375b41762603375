// Zip archives with a map file that are damaged, odd or hostile, and what comes of each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/formats/zip_index.h"
#include "tests/data/read_outcome.h"
#include "tests/support/tar_writer.h"
#include "tests/support/zip_writer.h"

namespace triptych {
namespace {

using testing::HasSubstr;

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
        ZipCase{"size_beyond_deflate",
                zip_of({.deflate = true, .size = 200'000'000}).bytes(),
                kB,
                {"bytes cannot be inflated to 200000000"}},
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
  expect_outcome(read_all(zip_corpus(dir, zip, "d/a.png\n\nd/b.png\t\t\nd/b.png\tb")), {"b"},
                 {"row 1, line 1', offset 0: the line of the map has one column",
                  "row 2, line 3', offset 9: no caption: the columns behind the name are empty"},
                 "");
  write_test_file(dir / "classes.txt", "cat\ndog\n");
  auto config = zip_corpus(dir, zip, "d/a.png\t1\nd/b.png\t2\nd/b.png\t0\nd/b.png\t0\t1\n\n");
  config.kind = "image_label";
  EXPECT_THAT(read_all(config).refused, HasSubstr("class_names: is not given; zip_map holds class indices only"));
  config.class_names = (dir / "classes.txt").string();
  expect_outcome(read_all(config), {"dog", "cat"},
                 {"label '2' is no class index: 0 to 1", "line 4', offset 30: the line of the map has not two columns"},
                 "");
  config.map = (dir / "{map,map}.txt").string();
  EXPECT_EQ(read_all(config).read.size(), 2U);  // named twice, listed once
  config.map = (dir / "gone.txt").string();
  EXPECT_THAT(read_all(config).refused, HasSubstr("map: "));
}

TEST(ZipMapTest, ColumnsBehindTheNameAreCaptions) {
  const TempDir dir;
  const auto config = zip_corpus(dir, zip_of({}).bytes(), "\r\nd/a.png\ta\t\t b \r\n\r\n \t\nd/b.png\tc\t\n\n\n");
  const auto corpus = open_corpus(config);
  ASSERT_EQ(corpus->size(), 2);
  EXPECT_THAT(corpus->read(0).captions, testing::ElementsAre("a", "b"));
  EXPECT_THAT(corpus->read(1).captions, testing::ElementsAre("c"));
}

}  // namespace
}  // namespace triptych

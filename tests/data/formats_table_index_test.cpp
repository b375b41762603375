// Index files of tables and zip archives, and files that change while they are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <thread>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/base64.h"
#include "data/formats/record_error.h"
#include "data/formats/row_index.h"
#include "data/formats/zip_index.h"
#include "tests/data/read_outcome.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/zip_writer.h"

namespace triptych {
namespace {

using testing::HasSubstr;

constexpr RowRule kCsv{RowRule::Kind::kCsv, ','};

std::string table_of(int rows, const std::string& word = "caption") {
  std::string table = "image,caption\n";
  for (int i = 0; i < rows; ++i) table += "x.png," + word + " " + std::to_string(i) + "\n";
  return table;
}

bool built(const TempDir& dir) {
  return open_row_index(InputFile((dir / "t.csv").string()), "", kCsv).built;
}

TEST(RowIndexTest, IsWrittenOnceAndThenMapped) {
  const TempDir dir;
  csv_corpus(dir, table_of(1000));
  EXPECT_TRUE(built(dir));
  EXPECT_FALSE(built(dir));
  const InputFile file((dir / "t.csv").string());
  const auto index = open_row_index(file, "", kCsv).index;
  ASSERT_EQ(index.size(), 1001);
  EXPECT_EQ(read_row(file, index, kCsv, 1000, 100), "x.png,caption 999");
  for (const std::int64_t row : {0, 1, 255, 256, 257, 1000}) EXPECT_EQ(index.line(file, row), row + 1);
  EXPECT_LE(std::filesystem::file_size(dir / "t.csv.tidx"), 80U + 1002 * 8 + 4 * 8);  // 8 bytes a row
}

/// Any byte of an index may be wrong: it is then not used.
TEST(RowIndexTest, DamagedFilesAreBuiltAgain) {
  const TempDir dir;
  csv_corpus(dir, table_of(5));
  EXPECT_TRUE(built(dir));
  const auto sidecar = dir / "t.csv.tidx";
  const auto sound = read_file(sidecar);
  for (std::size_t at = 0; at < sound.size(); ++at) {
    auto damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x04);
    write_test_file(sidecar, damaged);
    ASSERT_TRUE(built(dir)) << at;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{63}, sound.size() - 1}) {
    write_test_file(sidecar, std::string_view(sound).substr(0, length));
    EXPECT_TRUE(built(dir)) << length;
  }
}

TEST(RowIndexTest, AnotherDelimiterOrAChangedFileIsIndexedAgain) {
  const TempDir dir;
  const auto config = csv_corpus(dir, table_of(5000));
  const auto before = open_corpus(config)->fingerprint();
  EXPECT_FALSE(built(dir));
  EXPECT_TRUE(open_row_index(InputFile((dir / "t.csv").string()), "", {RowRule::Kind::kCsv, ';'}).built);
  EXPECT_TRUE(built(dir));
  // An edit in the middle that keeps the size and moves a row: only the time tells.
  auto table = table_of(5000);
  const auto at = table.find("caption 2500\nx.png");
  ASSERT_NE(at, std::string::npos);
  table.replace(at, 18, "captio\nx.png,n 250");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  write_test_file(dir / "t.csv", table);
  const auto corpus = open_corpus(config);
  EXPECT_EQ(corpus->read(2500).captions.at(0), "captio");
  EXPECT_NE(corpus->fingerprint(), before);
}

/// An edit that moves no row and leaves the ends as they are.
TEST(RowIndexTest, AnEditInTheMiddleIsAnotherCorpus) {
  const std::string objects = [] {
    std::string text = "[";
    for (int i = 0; i < 40'000; ++i)
      text += (i > 0 ? ",\n" : "\n") + std::string(R"({"image": "x.png", "caption": "caption )") + std::to_string(i) +
              "\"}";
    return text + "\n]\n";
  }();
  for (const std::string format : {"csv", "json"}) {
    const TempDir dir;
    auto config = csv_corpus(dir, format == "csv" ? table_of(40'000) : objects);
    config.format = format;
    const auto before = open_corpus(config)->fingerprint();
    EXPECT_EQ(open_corpus(config)->fingerprint(), before);  // from the index file
    auto text = read_file(dir / "t.csv");
    for (const auto at : {text.find("caption 1000"), text.find("caption 20000"), text.find("caption 39000")}) {
      auto edited = text;
      edited[at] = 'C';
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      write_test_file(dir / "t.csv", edited);
      EXPECT_NE(open_corpus(config)->fingerprint(), before) << format << " " << at;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    write_test_file(dir / "t.csv", text);
    EXPECT_EQ(open_corpus(config)->fingerprint(), before) << format;
  }
}

TEST(RowIndexTest, ACopyHasTheSameFingerprint) {
  const TempDir dir, other;
  const auto config = csv_corpus(dir, table_of(1000));
  const auto before = open_corpus(config)->fingerprint();
  std::filesystem::copy(dir.path(), other.path(), std::filesystem::copy_options::recursive);
  auto copy = config;
  copy.path = (other / "t.csv").string();
  std::filesystem::last_write_time(other / "t.csv",
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(5));
  EXPECT_EQ(open_corpus(copy)->fingerprint(), before);
  // Built again, because the time is another one, and then kept.
  EXPECT_FALSE(open_row_index(InputFile(copy.path), "", kCsv).built);
  std::filesystem::last_write_time(other / "t.csv",
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(6));
  EXPECT_TRUE(open_row_index(InputFile(copy.path), "", kCsv).built);
}

TEST(RowIndexTest, IndexDirIsUsed) {
  const TempDir dir;
  auto config = csv_corpus(dir, table_of(3));
  config.index_dir = (dir / "made/index").string();
  EXPECT_EQ(open_corpus(config)->size(), 3);
  EXPECT_FALSE(std::filesystem::exists(dir / "t.csv.tidx"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "made/index"), {}), 1);
  config.index_dir = (dir / "x.png").string();  // a file: cannot hold an index
  try {
    open_corpus(config);
    FAIL() << "index_dir that cannot be written was accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("corpus texts: index_dir: "));
  }
}

TEST(ZipIndexTest, DamagedFilesAreBuiltAgain) {
  const TempDir dir;
  write_test_file(dir / "a.zip", ZipWriter().file("a", "1").file("b", "2").bytes());
  const auto zip_built = [&] { return open_zip_index(InputFile((dir / "a.zip").string()), "").built; };
  EXPECT_TRUE(zip_built());
  EXPECT_FALSE(zip_built());
  const auto sound = read_file(dir / "a.zip.tidx");
  for (std::size_t at = 0; at < sound.size(); ++at) {
    auto damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_test_file(dir / "a.zip.tidx", damaged);
    ASSERT_TRUE(zip_built()) << at;
  }
}

// ---- files that change while they are read -------------------------------------------------------------------------

TEST(ChangedTableTest, ACutTableIsNoticedAndKillsNobody) {
  const TempDir dir;
  const auto corpus = open_corpus(csv_corpus(dir, table_of(100)));
  EXPECT_EQ(reason_of(*corpus, 99), "");
  std::filesystem::resize_file(dir / "t.csv", 300);
  EXPECT_EQ(reason_of(*corpus, 0), "");  // still there
  EXPECT_THAT(reason_of(*corpus, 99), HasSubstr("the file has become shorter"));
}

TEST(ChangedTableTest, AReplacedTableIsNoticed) {
  const TempDir dir;
  const auto corpus = open_corpus(csv_corpus(dir, table_of(100)));
  auto moved = table_of(100);
  moved.erase(14, 1) += "\n";
  write_test_file(dir / "t.csv", moved);
  EXPECT_THAT(reason_of(*corpus, 50), HasSubstr("no row begins here"));
  write_test_file(dir / "t.csv", table_of(50));
  EXPECT_THAT(reason_of(*open_corpus(csv_corpus(dir, table_of(100))), 0), "");
}

TEST(ChangedTableTest, AMissingTableIsABadRecord) {
  const TempDir dir;
  const auto corpus = open_corpus(csv_corpus(dir, table_of(3)));
  std::filesystem::remove(dir / "t.csv");
  EXPECT_THAT(reason_of(*corpus, 0), HasSubstr("cannot open"));
}

TEST(ChangedTableTest, ACutImageShardIsNoticed) {
  const TempDir dir;
  std::string texts, images;
  for (int i = 0; i < 50; ++i) {
    texts += std::to_string(i) + "\t{\"captions\": [\"c\"]}\n";
    images += std::to_string(i) + "\t" + encode_base64(std::string(100, 'p')) + "\n";
  }
  write_test_file(dir / "t.tsv", texts);
  write_test_file(dir / "i.tsv", images);
  auto config = text_corpus(dir / "t.tsv");
  config.format = "unicl_tsv";
  config.images = (dir / "i.tsv").string();
  const auto corpus = open_corpus(config);
  EXPECT_EQ(reason_of(*corpus, 49), "");
  std::filesystem::resize_file(dir / "i.tsv", 1000);
  EXPECT_EQ(reason_of(*corpus, 0), "");
  EXPECT_THAT(reason_of(*corpus, 49), HasSubstr("i.tsv:50: the file has become shorter"));
}

TEST(ChangedTableTest, ACutZipIsNoticed) {
  const TempDir dir;
  ZipWriter zip;
  std::string map;
  for (int i = 0; i < 20; ++i) {
    zip.file(std::to_string(i) + ".png", std::string(500, static_cast<char>('a' + i)));
    map += std::to_string(i) + ".png\tc\n";
  }
  write_test_file(dir / "a.zip", zip.bytes());
  write_test_file(dir / "m.txt", map);
  auto config = text_corpus(dir / "a.zip");
  config.format = "zip_map";
  config.map = (dir / "m.txt").string();
  const auto corpus = open_corpus(config);
  EXPECT_EQ(reason_of(*corpus, 19), "");
  std::filesystem::resize_file(dir / "a.zip", 2000);
  EXPECT_EQ(reason_of(*corpus, 0), "");
  EXPECT_THAT(reason_of(*corpus, 3), HasSubstr("'3.png' is cut"));
  EXPECT_THAT(reason_of(*corpus, 19), HasSubstr("has no local header"));
}

/// Eight threads read one corpus at random: no shared state but the cache of open files.
TEST(TableThreadsTest, ReadsAreThreadSafe) {
  const TempDir dir;
  const auto corpus = open_corpus(csv_corpus(dir, table_of(500)));
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 500; ++i) {
          const auto row = (i * 37 + t * 61) % 500;
          wrong += corpus->read(row).captions.at(0) != "caption " + std::to_string(row);
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace triptych

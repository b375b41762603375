// Tar shards packed by gzip or zstd: unpacked once, damage counted as in plain shards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/record_error.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::HasSubstr;

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

/// Pictures that do not compress, so that a packed file can be cut at any record.
std::string noise(int seed) {
  std::string bytes;
  std::uint32_t x = static_cast<std::uint32_t>(seed) * 2654435761U + 1;
  for (int i = 0; i < 700; ++i) bytes += static_cast<char>((x = x * 1664525U + 1013904223U) >> 24);
  return bytes;
}

std::string tar_of(int records, const std::string& word = "caption") {
  TarWriter tar;
  for (int i = 0; i < records; ++i) {
    tar.file(std::to_string(i) + ".jpg", noise(i)).file(std::to_string(i) + ".txt", word + " " + std::to_string(i));
  }
  return tar.end().bytes();
}

struct Outcome {
  int read = 0, bad = 0;
  std::string refused;
};
Outcome read_all(const std::filesystem::path& path) {
  Outcome outcome;
  try {
    const auto corpus = open_corpus(text_corpus(path));
    for (std::int64_t i = 0; i < corpus->size(); ++i) {
      try {
        const auto record = corpus->read(i);
        EXPECT_EQ(record.captions.at(0), "caption " + std::to_string(i));
        EXPECT_EQ(std::string(record.image.begin(), record.image.end()), noise(static_cast<int>(i)));
        EXPECT_EQ(record.place.shard, path.string());
        ++outcome.read;
      } catch (const RecordError&) {
        ++outcome.bad;
      }
    }
  } catch (const ConfigError& error) {
    outcome.refused = error.what();
  }
  return outcome;
}

class PackedTarTest : public testing::TestWithParam<std::string (*)(const std::string&)> {};

TEST_P(PackedTarTest, IsUnpackedOnce) {
  const TempDir dir;
  write_test_file(dir / "a.tar.x", GetParam()(tar_of(30)));
  EXPECT_EQ(read_all(dir / "a.tar.x").read, 30);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
    names.push_back(entry.path().filename().string());
  EXPECT_THAT(names, testing::UnorderedElementsAre("a.tar.x", testing::EndsWith(".unpacked"),
                                                   testing::EndsWith(".unpacked.tidx")));
  const auto copy =
      std::find_if(names.begin(), names.end(), [](const auto& name) { return name.ends_with(".unpacked"); });
  struct stat before {
  }, after{};
  stat((dir / *copy).c_str(), &before);
  EXPECT_EQ(read_all(dir / "a.tar.x").read, 30);
  stat((dir / *copy).c_str(), &after);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_P(PackedTarTest, WildcardsPassOverTheCopy) {
  const TempDir dir;
  write_test_file(dir / "a.tar.x", GetParam()(tar_of(3)));
  for (int time = 0; time < 2; ++time) EXPECT_EQ(open_corpus(text_corpus(dir / "a.*"))->size(), 3);
}

TEST_P(PackedTarTest, AnotherContentIsUnpackedAgain) {
  const TempDir dir;
  write_test_file(dir / "a.tar.x", GetParam()(tar_of(3, "other")));
  open_corpus(text_corpus(dir / "a.tar.x"));
  write_test_file(dir / "a.tar.x", GetParam()(tar_of(3)));
  EXPECT_EQ(read_all(dir / "a.tar.x").read, 3);
}

TEST_P(PackedTarTest, CopyGoesToTheIndexDir) {
  const TempDir dir;
  write_test_file(dir / "in/a.tar.x", GetParam()(tar_of(3)));
  auto config = text_corpus(dir / "in/a.tar.x");
  config.index_dir = (dir / "made/index").string();
  EXPECT_EQ(open_corpus(config)->read(2).captions.at(0), "caption 2");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "in"), {}), 1);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "made/index"), {}), 2);
}

TEST_P(PackedTarTest, TwoArchivesBehindOneAnotherAreOne) {
  const TempDir dir;
  auto first = tar_of(2);
  TarWriter second;
  second.file("2.jpg", noise(2)).file("2.txt", "caption 2");
  write_test_file(dir / "a.tar.x", GetParam()(first) + GetParam()(second.end().bytes()));
  EXPECT_EQ(read_all(dir / "a.tar.x").read, 3);
}

/// Wherever the file is cut: the records before are read, and the damage is one bad record, or the shard is refused.
TEST(PackedTar, ZerosBehindGzipArePadding) {
  const TempDir dir;
  const std::string zeros(300'000, '\0');
  write_test_file(dir / "a.tar.gz", gzip(tar_of(3)) + zeros);
  const auto outcome = read_all(dir / "a.tar.gz");
  EXPECT_EQ(outcome.read, 3);
  EXPECT_EQ(outcome.bad, 0);
}

TEST_P(PackedTarTest, ACutFileGivesTheRecordsBeforeTheCut) {
  const auto whole = GetParam()(tar_of(8));
  int most = 0, refused = 0;
  for (std::size_t length = 12; length < whole.size() - 40; length += 97) {
    const TempDir dir;
    write_test_file(dir / "a.tar.x", whole.substr(0, length));
    const auto outcome = read_all(dir / "a.tar.x");
    most = std::max(most, outcome.read);
    refused += !outcome.refused.empty();
    if (outcome.refused.empty() && outcome.read < 8) {
      EXPECT_GE(outcome.bad, 1) << length;
    }
  }
  EXPECT_GE(most + refused, 1);
}

/// The first archive ends with its mark: what follows is no padding, but archives that are lost.
TEST_P(PackedTarTest, DamageBehindAnEndMarkIsABadRecord) {
  const auto first = GetParam()(tar_of(3)), second = GetParam()(tar_of(3, "other"));
  auto wrong_magic = second;
  wrong_magic[0] = static_cast<char>(wrong_magic[0] ^ 0xFF);
  for (const auto& rest : {wrong_magic, second.substr(0, 4), second.substr(0, 20), second.substr(0, 60)}) {
    const TempDir dir;
    write_test_file(dir / "a.tar.x", first + rest);
    for (int time = 0; time < 2; ++time) {  // unpacked, then from the copy
      const auto outcome = read_all(dir / "a.tar.x");
      EXPECT_EQ(outcome.read, 3) << rest.size();
      EXPECT_EQ(outcome.bad, 1) << rest.size();
    }
  }
}

TEST_P(PackedTarTest, ADamagedFileNeverGivesAWrongRecordSilently) {
  const TempDir dir;
  auto damaged = GetParam()(tar_of(8));
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 0x55);
  write_test_file(dir / "a.tar.x", damaged);
  const auto corpus = open_corpus(text_corpus(dir / "a.tar.x"));
  EXPECT_GE(corpus->size(), 1);
}

TEST_P(PackedTarTest, WhatIsNoTarInsideIsRefused) {
  const TempDir dir;
  write_test_file(dir / "a.tar.x", GetParam()(std::string(2000, 'x')));
  EXPECT_THAT(read_all(dir / "a.tar.x").refused, HasSubstr("a.tar.x: what is packed in it is no tar archive"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

/// 40 GB of zeros in a file of 40 MB would fill the disk: the copy is given up at 200 times the size.
TEST_P(PackedTarTest, ABombIsGivenUp) {
  const TempDir dir;
  write_test_file(dir / "a.tar.x", GetParam()(std::string(100 << 20, '\0')));
  EXPECT_THAT(read_all(dir / "a.tar.x").refused, HasSubstr("grows to more than 200 times its size"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);  // nothing is left behind
}

TEST_P(PackedTarTest, AFolderThatCannotBeWrittenIsNamed) {
  const TempDir dir;
  write_test_file(dir / "a.tar.x", GetParam()(tar_of(2)));
  auto config = text_corpus(dir / "a.tar.x");
  config.index_dir = (dir / "a.tar.x").string();  // a file
  try {
    open_corpus(config);
    FAIL() << "accepted";
  } catch (const StorageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("name a folder with room in index_dir"));
  }
}

INSTANTIATE_TEST_SUITE_P(Packers, PackedTarTest, testing::Values(gzip, zstd),
                         [](const auto& which) { return which.index == 0 ? "gzip" : "zstd"; });

}  // namespace
}  // namespace triptych

// Tars that are damaged, odd or hostile. Each has a fixed outcome: which records are read, which are bad and why, or
// why the shard is refused. Whatever the damage, every sound record of the shard is still read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/record_error.h"
#include "tests/support/broken_tars.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

/// What reading every record of a shard gave.
struct Outcome {
  std::vector<std::string> captions;  // of the records that could be read, in order
  std::vector<std::string> bad;       // "key@offset: reason"
  std::string refused;                // the corpus could not be opened
};

Outcome read_all(const std::string& tar) {
  const TempDir folder;
  const auto path = folder / "far/down/shard.tar";
  write_test_file(path, tar);
  Outcome outcome;
  try {
    const auto corpus = open_corpus(text_corpus(path, "broken"));
    for (std::int64_t i = 0; i < corpus->size(); ++i) {
      try {
        outcome.captions.push_back(corpus->read(i).captions.at(0));
      } catch (const RecordError& e) {
        outcome.bad.push_back(e.place().key + "@" + std::to_string(e.place().offset) + ": " + e.reason());
      }
    }
  } catch (const ConfigError& error) {
    outcome.refused = error.what();
  }
  // Nothing may be written but the index file, also by names with "../../".
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    const auto made = entry.path().string();
    EXPECT_TRUE(path.string().starts_with(made) || made == path.string() + ".tidx") << made;
  }
  return outcome;
}

class BrokenTarTest : public testing::TestWithParam<BrokenTar> {};

TEST_P(BrokenTarTest, HasItsOutcome) {
  const auto& expected = GetParam();
  const auto outcome = read_all(expected.tar);
  EXPECT_EQ(outcome.captions, expected.captions);
  ASSERT_EQ(outcome.bad.size(), expected.bad.size()) << testing::PrintToString(outcome.bad);
  for (std::size_t i = 0; i < expected.bad.size(); ++i)
    EXPECT_THAT(outcome.bad[i], testing::StartsWith(expected.bad[i]));
  if (expected.refused.empty()) {
    EXPECT_EQ(outcome.refused, "");
  } else {
    EXPECT_THAT(outcome.refused,
                testing::AllOf(testing::StartsWith("corpus broken: "), testing::HasSubstr(expected.refused)));
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, BrokenTarTest, testing::ValuesIn(broken_tars()),
                         [](const auto& tar) { return std::string(tar.param.name); });

/// A member that says it has 3 GiB must not make anybody reserve 3 GiB.
TEST(BrokenTars, HugeNamesAndSizesTakeNoMemory) {
  const TempDir folder;
  TarWriter tar = first_record();
  tar.header(TarHeader("x.jpg", 0).base256(124, 12, std::int64_t{3} << 30));
  const auto path = folder / "shard.tar";
  write_test_file(path, tar.bytes());
  std::filesystem::resize_file(path,
                               static_cast<std::uintmax_t>(tar.size()) + (std::uintmax_t{3} << 30));  // sparse on disk
  write_test_file(folder / "tail.tar", record(tar = {}, 1).bytes());
  std::ofstream(path, std::ios::binary | std::ios::app)
      << TarWriter().file("x.txt", "c").file("y.jpg", "p").file("y.txt", "caption y").bytes();
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto before = peak();
  const auto corpus = open_corpus(text_corpus(path, "huge"));
  ASSERT_EQ(corpus->size(), 3);
  EXPECT_EQ(corpus->read(0).captions.at(0), "caption 0");
  EXPECT_THROW(corpus->read(1), RecordError);
  EXPECT_EQ(corpus->read(2).captions.at(0), "caption y");
  EXPECT_LT(peak() - before, 64 << 10) << "KiB";
}

/// Random damage anywhere: no crash, no endless walk, and records whose blocks were not touched are still read.
TEST(BrokenTars, OneDamagedByteCostsOneRecord) {
  TarWriter tar;
  for (int i = 0; i < 4; ++i) record(tar, i);
  const auto whole = tar.end().bytes();
  for (std::size_t at = 0; at < 4 * 2048; at += 29) {
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    const auto outcome = read_all(damaged);
    ASSERT_EQ(outcome.refused, "") << at;
    for (std::size_t i = 0; i < 4; ++i) {
      if (at / 2048 == i) continue;
      EXPECT_THAT(outcome.captions, testing::Contains("caption " + std::to_string(i))) << "byte " << at;
    }
  }
}

}  // namespace
}  // namespace triptych

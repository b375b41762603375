// Runs on corpora that are cut oddly or partly unusable: as many steps and the same samples on any number of ranks.
#include <gtest/gtest.h>

#include <functional>

#include "core/base/errors.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

std::string shard_of(int first, int count, const std::function<bool(int)>& broken = {}) {
  TarWriter tar;
  for (int i = first; i < first + count; ++i) {
    const auto key = std::to_string(i);
    tar.file(key + ".png", broken && broken(i) ? "no picture" : tiny_png(8, 8, i)).file(key + ".txt", "text " + key);
  }
  return tar.end().bytes();
}

/// The tiny run on one corpus of captions: the shards that a test writes.
class OddRun {
 public:
  OddRun() { fs::remove_all(tiny_.path() / "texts"); }
  void write(const std::string& name, const std::string& bytes) const {
    write_test_file(tiny_.path() / "texts" / ("train-" + name + ".tar"), bytes);
  }
  TrainConfig config(const std::string& name) const {
    auto config = tiny_.config(name);
    config.data.corpora.resize(1);
    config.data.workers = 4;  // more than some of the shards have records
    config.data.error_budget = 0.5;
    config.log.step_record = false;
    config.log.ledger = true;
    return config;
  }
  const TinyRun& tiny() const { return tiny_; }
  std::string ledger(const std::string& name) const { return tiny_.text(name, "ledger.jsonl"); }
  /// 10 steps on 1, 2 and 3 ranks, and on 2 after a kill of the 3 behind step 4: how many different ledgers.
  std::size_t different_ledgers() const {
    std::set<std::string> ledgers;
    for (const int ranks : {1, 2, 3}) {
      const auto name = std::to_string(ranks);
      EXPECT_EQ(TinyRun::train(config(name), ranks), ExitCode::kDone);
      EXPECT_EQ(tiny_.lines(name, "ledger.jsonl").size(), 10 * 12U) << ranks << " ranks";
      ledgers.insert(ledger(name));
    }
    tiny_.copy_run("3", "killed", 4);
    EXPECT_EQ(TinyRun::train(config("killed"), 2), ExitCode::kDone);
    ledgers.insert(ledger("killed"));
    return ledgers.size();
  }
  std::int64_t replacements() const {
    const auto lines = tiny_.lines("1", "ledger.jsonl");
    return std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line["replacement"] == true; });
  }

 private:
  TinyRun tiny_;
};

TEST(OddCorpora, ShardsOfOneRecordOfManyAndOfNone) {
  const OddRun run;
  run.write("0", shard_of(0, 1));
  run.write("1", "");
  run.write("2", shard_of(1, 999));
  run.write("3", std::string(1024, '\0'));  // an end mark alone
  EXPECT_EQ(run.different_ledgers(), 1U);
  EXPECT_EQ(run.replacements(), 0);
}

TEST(OddCorpora, FewerRecordsThanABatchAndFewerShardsThanRanks) {
  const OddRun run;
  run.write("0", shard_of(0, 5));
  EXPECT_EQ(run.different_ledgers(), 1U);
}

TEST(OddCorpora, ACorpusOfNothingIsRefusedByNameOnAllRanks) {
  const OddRun run;
  run.write("0", "");
  run.write("1", std::string(1024, '\0'));
  try {
    TinyRun::train(run.config("a"), 3);
    FAIL();
  } catch (const ConfigError& error) {  // exit 2
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with("rank 0 on ") && text.ends_with("the shards hold no record")) << text;
    EXPECT_NE(text.find(": corpus texts: path: "), std::string::npos) << text;
    EXPECT_TRUE(error.agreed());
  }
}

struct BadFraction {
  const char* name;
  bool (*broken)(int record);
};
void PrintTo(const BadFraction& fraction, std::ostream* out) {
  *out << fraction.name;
}

/// Replacements do not depend on the ranks, and are the same after a kill and on another number of ranks.
class BadFractionTest : public testing::TestWithParam<BadFraction> {};

TEST_P(BadFractionTest, IsReplacedTheSameWay) {
  const OddRun run;
  for (int shard = 0; shard < 3; ++shard) run.write(std::to_string(shard), shard_of(40 * shard, 40, GetParam().broken));
  EXPECT_EQ(run.different_ledgers(), 1U);
  const auto skipped = run.tiny().lines("1", "skipped.jsonl").size();
  std::size_t broken = 0;
  for (int i = 0; i < 120; ++i) broken += GetParam().broken(i);
  EXPECT_EQ(skipped, broken) << "10 steps of 12 meet every record once";
  EXPECT_EQ(run.replacements(), static_cast<std::int64_t>(broken));
}

INSTANTIATE_TEST_SUITE_P(Fractions, BadFractionTest,
                         testing::Values(BadFraction{"one_record", [](int i) { return i == 77; }},
                                         BadFraction{"thirty_percent", [](int i) { return i * 7 % 10 < 3; }},
                                         BadFraction{"a_whole_shard", [](int i) { return i / 40 == 1; }}),
                         [](const auto& which) { return which.param.name; });

// In the order of the corpus the middle of three ranks gets the rows 4 to 7 of every 12, and all of them are bad.
TEST(OddCorpora, AllBadRecordsOnOneRank) {
  const OddRun run;
  run.write("0", shard_of(0, 120, [](int i) { return i % 12 / 4 == 1; }));
  const auto config = [&](int ranks) {
    auto unshuffled = run.config(std::to_string(ranks));
    unshuffled.data.shuffle.enabled = false;
    return unshuffled;
  };
  for (const int ranks : {1, 3}) EXPECT_EQ(TinyRun::train(config(ranks), ranks), ExitCode::kDone);
  EXPECT_EQ(run.ledger("3"), run.ledger("1"));
  for (const auto& line : run.tiny().lines("3", "ledger.jsonl"))
    EXPECT_EQ(line["replacement"] == true, line["position"].get<int>() % 12 / 4 == 1) << line;
}

}  // namespace
}  // namespace triptych

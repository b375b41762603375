// "Each record once an epoch", counted in the ledger of runs that were interrupted at every step.
#include "core/train/ledger.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "core/train/checkpoint_store.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBroken = 17;  // of the texts

/// 11 steps of 6 samples: two epochs of 33 records, the first of which ends inside a batch.
TrainConfig ledger_config(const TinyRun& tiny, const std::string& name) {
  auto config = tiny.config(name);
  config.train.global_batch = 6;
  config.schedule.total = epochs(2);
  config.schedule.warmup = steps(1);
  config.checkpoint.every = steps(1);
  config.log = {};
  config.log.tensorboard = false;
  config.log.ledger = true;
  return config;
}

/// The ledger of a run that was stopped 20 times: after each step, and once more after the same step when kill -9 had
/// lost the checkpoint of the first time.
std::string interrupted(const TinyRun& tiny, TrainConfig config, int ranks) {
  for (int stop = 0; stop < 20; ++stop) {
    const std::int64_t step = stop / 2 + 1;
    config.schedule.total = steps(static_cast<double>(step));
    EXPECT_EQ(TinyRun::train(config, ranks, "auto", {"schedule"}), ExitCode::kDone);
    const auto lines = tiny.lines(config.run.name, "ledger.jsonl").size();
    EXPECT_EQ(lines, static_cast<std::size_t>(6 * step)) << "nothing stands twice after stop " << stop;
    if (stop % 2 == 0) fs::remove_all(CheckpointStore(tiny.run(config.run.name) / "checkpoints").path(step));
  }
  config.schedule.total = epochs(2);
  EXPECT_EQ(TinyRun::train(config, ranks, "auto", {"schedule"}), ExitCode::kDone);
  return tiny.text(config.run.name, "ledger.jsonl");
}

/// What does not hold of "both epochs hold every record once"; empty if it does.
std::string fault_of(const std::vector<nlohmann::json>& lines) {
  std::map<std::tuple<std::string, std::int64_t, std::int64_t>, int> seen;  // corpus, epoch, record
  std::map<std::int64_t, int> replaced;                                     // by epoch
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i]["position"] != i) return "line " + std::to_string(i) + " has another position";
    if (lines[i]["replacement"]) {
      ++replaced[lines[i]["epoch"]];
    } else {
      ++seen[{lines[i]["corpus"], lines[i]["epoch"], lines[i]["record"]}];
    }
  }
  if (lines.size() != 66) return std::to_string(lines.size()) + " lines";
  for (const std::int64_t epoch : {0, 1}) {
    if (replaced[epoch] != 1) return "replacements";
    for (const auto& [corpus, size] : {std::pair("texts", 24), std::pair("labels", 9)}) {
      for (std::int64_t record = 0; record < size; ++record) {
        const bool broken = std::string(corpus) == "texts" && record == kBroken;
        const auto count = seen[{corpus, epoch, record}];
        if (count != (broken ? 0 : 1)) {
          return std::string(corpus) + " " + std::to_string(record) + " stands " + std::to_string(count) +
                 " times in epoch " + std::to_string(epoch);
        }
      }
    }
  }
  return "";
}

TEST(Ledger, EveryRecordOnceAnEpochHoweverOftenInterrupted) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(ledger_config(tiny, "whole"), 1), ExitCode::kDone);
  const auto whole = tiny.text("whole", "ledger.jsonl");
  EXPECT_EQ(fault_of(tiny.lines("whole", "ledger.jsonl")), "");
  for (const int ranks : {1, 2, 3}) {
    const auto name = "r" + std::to_string(ranks);
    EXPECT_EQ(interrupted(tiny, ledger_config(tiny, name), ranks), whole) << ranks << " ranks";
  }
}

TEST(Ledger, EveryRecordOnceAnEpochInBatchesOfOneCorpus) {
  const TinyRun tiny;
  auto config = ledger_config(tiny, "whole");
  config.data.batch_sources = "single";
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  const auto lines = tiny.lines("whole", "ledger.jsonl");
  EXPECT_EQ(fault_of(lines), "");
  for (std::size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["corpus"], lines[i / 6 * 6]["corpus"]) << i;
  config.run.name = "stopped";
  EXPECT_EQ(interrupted(tiny, config, 2), tiny.text("whole", "ledger.jsonl"));
}

TEST(Ledger, LinesSayWhatWasUsed) {
  ShuffleConfig shuffle;
  shuffle.enabled = false;
  const SampleSchedule schedule({{.shards = {{0, 3}}, .size = 3}}, "proportional", shuffle, 1);
  std::vector<CorpusConfig> corpora(1);
  corpora[0].name = "a \"b\"";
  EXPECT_EQ(ledger_lines(4, at::tensor({1, 0}, at::kLong), schedule, corpora),
            "{\"epoch\":1,\"position\":4,\"corpus\":\"a \\\"b\\\"\",\"record\":1,\"replacement\":false}\n"
            "{\"epoch\":1,\"position\":5,\"corpus\":\"a \\\"b\\\"\",\"record\":0,\"replacement\":true}\n");
}

/// The negative control: what the count must not let pass.
TEST(LedgerMistake, RepeatedDroppedAndMissingRecordsAreSeen) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(ledger_config(tiny, "a"), 1), ExitCode::kDone);
  const auto lines = tiny.lines("a", "ledger.jsonl");
  auto repeated = lines;
  repeated[7]["record"] = repeated[8]["record"];
  repeated[7]["corpus"] = repeated[8]["corpus"];
  EXPECT_NE(fault_of(repeated), "");
  auto swapped = lines;  // across the end of the epoch
  std::swap(swapped[32]["epoch"], swapped[33]["epoch"]);
  EXPECT_NE(fault_of(swapped), "");
  auto missing = lines;
  missing.erase(missing.begin() + 20);
  EXPECT_NE(fault_of(missing), "");
  auto lost = lines;
  lost.pop_back();
  EXPECT_NE(fault_of(lost), "");
}

}  // namespace
}  // namespace triptych

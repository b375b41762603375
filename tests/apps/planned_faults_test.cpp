// Runs that are broken on purpose (core/base/fault_plan.h) at every point, and then started again. Two oracles. BIT:
// steps.jsonl, with the hashes of all state after every step, is that of a run that nothing happened to, byte for byte.
// ONCE: ledger.jsonl has every position once, with the same record.
// A save starts when the one before has ended: killed as it starts, a run has that of two steps ago.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/hash.h"
#include "tests/apps/tiny_run.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kTotalSteps = 5, kGlobalBatch = 12;

/// A momentum encoder, queues, averaged weights, two corpora, evaluation; saves after steps 2, 4 and 5, keeps one.
std::string write_faults_run(const TempDir& dir) {
  write_tiny_run(dir);
  const auto path = (dir / "faults.yaml").string(), root = dir.path().string();
  spill(path,
        "extends: run.yaml\n"
        "data: {workers: 1, augment: {recipe: tcl}}\n"
        "model:\n"
        "  image: {type: vit, image_size: 16, patch_size: 8, width: 8, depth: 1, heads: 2, form: timm}\n"
        "  text: {type: bert, clean: tcl_caption, context: 8, width: 8, depth: 1, heads: 2, end_token: false}\n"
        "  fusion: {depth: 1}\n"
        "  embed_dim: 8\n"
        "objective: {name: tcl, queue: 30, positives: label, lmi: {cells: 2}}\n"
        "train: {micro_batch: 0, ema: {decay: 0.9}, verify_every: {steps: 1}}\n"
        "schedule: {total: {steps: 5}}\n"
        "checkpoint: {every: {steps: 2}, keep_last: 1}\n"
        "eval: [{name: retrieval, corpus: {kind: image_text, path: " +
            root +
            "/text.tar}}]\n"
            "log: {step_record: true, ledger: true, tensorboard: false}\n");
  return path;
}

/// One fault and what must come of it.
struct Row {
  std::string name;  ///< of the run's folder
  int ranks = 1;
  std::string plan;  ///< entries of the JSON list
  int code = 0;      ///< of the run that is broken
  std::string said = {};
  std::string set = {};  ///< more options of both starts
};

std::string entry(const std::string& point, const std::string& action, int step, int rank = 0, int skip = 0,
                  const std::string& more = "") {
  return "{\"rank\": " + std::to_string(rank) + ", \"step\": " + std::to_string(step) + ", \"point\": \"" + point +
         "\", \"action\": \"" + action + "\", \"skip\": " + std::to_string(skip) + more + "}";
}

class PlannedFaults : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    config_ = write_faults_run(*dir_);
    for (const int ranks : {1, 2}) {
      const auto outcome = start(ranks, "whole" + std::to_string(ranks), "", "");
      ASSERT_EQ(outcome.code, 0) << outcome.err;
    }
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }

  static Outcome start(int ranks, const std::string& name, const std::string& plan, const std::string& set) {
    std::string variable;
    if (!plan.empty()) {
      const auto file = (*dir_ / (name + ".json")).string();
      spill(file, "[" + plan + "]\n");
      variable = "TRIPTYCH_FAULTS=" + file + " ";
    }
    const auto launcher = ranks > 1 ? "mpirun -np " + std::to_string(ranks) + " " : std::string();
    return run_shell("env " + variable + launcher + "triptych train " + config_ + " --run-dir " +
                     (*dir_ / name).string() + set);
  }

  static std::string record(const std::string& name, const char* file) { return slurp(*dir_ / name / file); }

  /// Empty, or which oracle a finished run fails.
  static std::string differs(const std::string& name, int ranks) {
    const auto whole = "whole" + std::to_string(ranks);
    if (record(name, "steps.jsonl") != record(whole, "steps.jsonl")) return "BIT";
    if (record(name, "ledger.jsonl") != record(whole, "ledger.jsonl")) return "ONCE: not the same records";
    std::istringstream lines(record(name, "ledger.jsonl"));
    std::int64_t position = 0;
    for (std::string line; std::getline(lines, line); ++position) {
      if (Json::parse(line)["position"] != position) return "ONCE: position " + std::to_string(position);
    }
    return position == kTotalSteps * kGlobalBatch ? "" : "ONCE: " + std::to_string(position) + " positions";
  }

  /// Breaks a run, starts it again, compares. True if the fault struck.
  static bool check(const Row& row) {
    const auto broken = start(row.ranks, row.name, row.plan, row.set);
    const bool struck = broken.err.find("planned fault: ") != std::string::npos;
    if (struck) {
      EXPECT_EQ(broken.code, row.code) << row.name << "\n" << broken.err;
      EXPECT_THAT(broken.err, HasSubstr(row.said)) << row.name;
    }
    const auto resumed = struck ? start(row.ranks, row.name, "", row.set) : broken;
    EXPECT_EQ(resumed.code, 0) << row.name << "\n" << resumed.err;
    EXPECT_EQ(differs(row.name, row.ranks), "") << row.name << "\n" << broken.err << resumed.err;
    std::filesystem::remove_all(*dir_ / row.name);
    return struck;
  }

  /// Every row must strike; as many at a time as there are cores.
  static void check_rows(const std::vector<Row>& rows) {
    std::atomic<std::size_t> next = 0;
    std::vector<std::jthread> threads(std::max(1u, std::thread::hardware_concurrency()));
    for (auto& thread : threads) {
      thread = std::jthread([&] {
        for (auto i = next++; i < rows.size(); i = next++) EXPECT_TRUE(check(rows[i])) << rows[i].name;
      });
    }
    threads.clear();  // joins
  }

  static TempDir* dir_;
  static std::string config_;
};
TempDir* PlannedFaults::dir_ = nullptr;
std::string PlannedFaults::config_;

TEST_F(PlannedFaults, KilledAtEveryPointOfTheFirstAMiddleAndTheLastStep) {
  std::vector<Row> rows;
  for (const std::string point :
       {"data.read", "decode", "fwd", "bwd", "allreduce.enter", "allreduce.exit", "opt", "ema", "queue"}) {
    for (const int step : {1, 3, kTotalSteps})
      rows.push_back({point + std::to_string(step), 1, entry(point, "kill", step), 137});
  }
  for (const std::string point : {"eval", "shutdown"}) {
    rows.push_back({point, 1, entry(point, "kill", kTotalSteps), 137});
  }
  check_rows(rows);
}

TEST_F(PlannedFaults, KilledAtEveryOperationOfASave) {
  // The save of step 4 also removes that of step 2. Writes are many: every fortieth.
  for (const auto& [point, stride] : {std::pair{"ckpt.open", 1},
                                      {"ckpt.write", 40},
                                      {"ckpt.fsync", 1},
                                      {"ckpt.manifest", 1},
                                      {"ckpt.rename", 1},
                                      {"ckpt.dirsync", 1},
                                      {"ckpt.prune", 1}}) {
    int operations = 0;
    const auto row = [&](int skip) {
      return Row{point + std::to_string(skip), 1, entry(point, "kill", 4, 0, skip), 137};
    };
    while (check(row(operations * stride))) ++operations;
    const std::map<std::string, int> least = {{"ckpt.open", 5},     {"ckpt.write", 4},  {"ckpt.fsync", 7},
                                              {"ckpt.manifest", 1}, {"ckpt.rename", 2}, {"ckpt.dirsync", 3},
                                              {"ckpt.prune", 5}};
    EXPECT_GE(operations, least.at(point)) << point;
  }
  check_rows({{"first", 1, entry("ckpt.rename", "kill", 2), 137}, {"last", 1, entry("ckpt.rename", "kill", 5), 137}});
}

TEST_F(PlannedFaults, OneOfTwoRanksGoes) {
  std::vector<Row> rows;
  for (const std::string point : {"data.read", "bwd", "allreduce.enter", "allreduce.exit", "opt"})
    rows.push_back({"kill_" + point, 2, entry(point, "kill", 3, 1), 137});
  rows.push_back({"kill_saver", 2, entry("ckpt.rename", "kill", 4, 0), 137});
  rows.push_back({"segv", 2, entry("fwd", "segv", 3, 1), 139});
  rows.push_back({"abort", 2, entry("opt", "abort", 3, 1), 134});
  rows.push_back({"exit0", 2, entry("queue", "exit0", 3, 1), 1});
  rows.push_back({"throw", 2, entry("ema", "throw", 3, 1), 1, "rank 1 on "});
  rows.push_back({"throw_loader", 2, entry("decode", "throw", 3, 1), 1});
  rows.push_back({"throw_progress", 2, entry("allreduce.enter", "throw", 3, 1), 5});
  rows.push_back({"spin", 2, entry("bwd", "spin", 3, 1), 5, "no answer in time", " --set train.timeout_s=4"});
  rows.push_back({"stop", 2, entry("fwd", "stop", 3, 1), 5, "no answer in time", " --set train.timeout_s=4"});
  rows.push_back({"delay", 2, entry("fwd", "delay", 3, 1, 0, ", \"seconds\": 1"), 0});
  check_rows(rows);
}

TEST_F(PlannedFaults, OneRankAloneGoes) {
  check_rows({{"segv", 1, entry("bwd", "segv", 3), 139},
              {"abort", 1, entry("allreduce.exit", "abort", 3), 134},
              {"throw", 1, entry("eval", "throw", 5), 1},
              {"exit0", 1, entry("opt", "exit0", 3), 0},
              {"segv_saver", 1, entry("ckpt.write", "segv", 4, 0, 9), 139},
              {"read", 1, entry("data.read", "eio", 3), 0, "waiting for data"}});
}

TEST_F(PlannedFaults, AFailedSaveCostsNothingButItself) {
  std::vector<Row> rows;
  for (const std::string point :
       {"ckpt.open", "ckpt.write", "ckpt.fsync", "ckpt.manifest", "ckpt.rename", "ckpt.dirsync"}) {
    for (const std::string action : {"enospc", "eio"})
      rows.push_back({action + point, 1, entry(point, action, 4), 0, "could not save"});
  }
  rows.push_back({"half", 1, entry("ckpt.write", "enospc", 4, 0, 60, ", \"bytes\": 7"), 0, "could not save"});
  rows.push_back({"thrown", 1, entry("ckpt.fsync", "throw", 4), 0, "could not save"});
  rows.push_back({"prune", 1, entry("ckpt.prune", "eio", 4), 0, "cannot remove"});
  rows.push_back({"short", 1, entry("ckpt.write", "short", -1, 0, 0, ", \"count\": 0, \"bytes\": 50"), 0});
  check_rows(rows);
}

TEST_F(PlannedFaults, ADiskThatStaysFullEndsTheRunWithTheOlderCheckpointIntact) {
  const auto always = entry("ckpt.write", "enospc", 5, 0, 0, ", \"count\": 0");
  const auto full = start(1, "full", always, "");
  EXPECT_EQ(full.code, 7) << full.err;
  EXPECT_THAT(full.err, AllOf(HasSubstr("no checkpoint could be saved"), HasSubstr("No space left on device")));
  const auto kept = run_shell("triptych inspect " + (*dir_ / "full" / "checkpoints" / "step_00000004").string());
  EXPECT_EQ(kept.code, 0) << kept.err;
  const auto resumed = start(1, "full", "", "");
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(differs("full", 1), "");
  check_rows({{"impatient", 1, entry("ckpt.fsync", "eio", 2), 7, "no checkpoint could be saved 1 times",
               " --set checkpoint.max_failures=1"}});
}

TEST_F(PlannedFaults, NotANumberOnOneRankEndsOrSkipsTheStepOnAll) {
  for (const std::string point : {"fwd", "bwd"}) {
    check_rows({{"nan_" + point, 2, entry(point, "nan", 3, 1), 6, "rank 1", " --set train.max_skipped_steps=0"}});
    const auto name = "skipped_" + point;
    const auto skipped = start(2, name, entry(point, "nan", 3, 1), "");
    EXPECT_EQ(skipped.code, 0) << skipped.err;
    std::istringstream lines(record(name, "steps.jsonl"));
    std::vector<Json> steps;
    for (std::string line; std::getline(lines, line);) steps.push_back(Json::parse(line));
    ASSERT_EQ(steps.size(), std::size_t{kTotalSteps});
    for (const auto& step : steps) EXPECT_EQ(step["skipped"], step["step"] == 3) << step;
    EXPECT_EQ(steps[2]["optimizer"], steps[1]["optimizer"]) << "nothing is learned from it";
  }
}

TEST_F(PlannedFaults, AFlippedBitIsFoundNamedAndNotSaved) {
  check_rows({{"weight", 2, entry("opt", "flip", 3, 1), 5, "step 3: the ranks no longer hold the same state. "},
              {"gradient", 2, entry("allreduce.exit", "flip", 4, 0), 5, "step 4: the ranks no longer hold the same"},
              {"average", 2, entry("ema", "flip", 3, 1), 5, ": rank "}});
  // Between two checks: found before the next checkpoint is written. Of three ranks the one is named.
  const auto late = start(3, "late", entry("opt", "flip", 3, 2), " --set train.verify_every.steps=100");
  EXPECT_EQ(late.code, 5) << late.err;
  EXPECT_THAT(late.err, AllOf(HasSubstr("step 4: the ranks no longer hold the same state"), HasSubstr("rank 2 on "),
                              HasSubstr("2 others have "), testing::Not(HasSubstr("rank 1 on "))));
  EXPECT_FALSE(std::filesystem::exists(*dir_ / "late" / "checkpoints" / "step_00000004"));
}

// ---- Controls ----

/// Sets an item of a checkpoint's state to zeros, with hashes that fit.
void lose(const std::filesystem::path& checkpoint, const std::string& item) {
  auto bytes = slurp(checkpoint / "state.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const auto place = Json::parse(bytes.substr(8, header)).at(item).at("data_offsets");
  const std::size_t begin = 8 + header + place[0].get<std::size_t>(), end = 8 + header + place[1].get<std::size_t>();
  bytes.replace(begin, end - begin, end - begin, '\0');
  spill(checkpoint / "state.safetensors", bytes);
  auto manifest = Json::parse(slurp(checkpoint / "manifest.json"));
  manifest["files"]["state.safetensors"]["xxh64"] = hash_text(xxh64(bytes));
  manifest.erase("xxh64");
  manifest["xxh64"] = hash_text(xxh64(manifest.dump()));
  spill(checkpoint / "manifest.json", manifest.dump(1) + "\n");
}

TEST_F(PlannedFaults, AResumeThatLostAnItemOfStateFailsTheOracle) {
  for (const std::string item : {"queue.image", "queue.next", "ema.updates", "trainer.samples_seen", "guard.norms"}) {
    const auto broken = start(1, "lost", entry("ckpt.open", "kill", 4), "");
    ASSERT_EQ(broken.code, 137) << broken.err;
    lose(*dir_ / "lost" / "checkpoints" / "step_00000002", item);
    const auto resumed = start(1, "lost", "", "");
    EXPECT_EQ(resumed.code, 0) << item << "\n" << resumed.err;
    EXPECT_NE(differs("lost", 1), "") << item;
    std::filesystem::remove_all(*dir_ / "lost");
  }
}

TEST_F(PlannedFaults, APlanIsAnnouncedAndAWrongOneRefused) {
  const auto elsewhere = start(1, "inert", entry("fwd", "kill", 3, 1), "");
  EXPECT_EQ(elsewhere.code, 0) << elsewhere.err;
  EXPECT_THAT(elsewhere.err, HasSubstr("1 faults are planned; this run is a test of how it fails"));
  EXPECT_EQ(differs("inert", 1), "") << "a plan for another rank changes nothing";
  const auto wrong = start(1, "wrong", entry("fwd", "kil", 3), "");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("wrong.json:1:"), HasSubstr("faults.0.action: got 'kil'")));
  EXPECT_EQ(run_shell("env TRIPTYCH_FAULTS=/absent.json triptych --version").code, 2);
}

}  // namespace
}  // namespace triptych

// Whole runs: the same samples on any number of ranks, resume bit for bit, and what a run refuses.
#include "core/train/train_run.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "core/train/checkpoint_store.h"
#include "tests/train/lost_state.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

double number(const nlohmann::json& line, const char* key) {
  return std::strtod(line.at(key).get<std::string>().c_str(), nullptr);
}

template <class Action>
std::string refusal(ExitCode code, Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_TRUE(error.agreed()) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted what should be refused";
  return "accepted";
}

TEST(Run, WritesWhatItPromises) {
  const TinyRun tiny;
  auto config = tiny.config("a");
  config.eval = {ZeroShotConfig{.label = "", .corpus = tiny.labels(), .prompts = "plain", .every = steps(5)}};
  config.log.profile = ProfileConfig{{2, 3}};
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  const auto metrics = tiny.lines("a", "metrics.jsonl");
  std::vector<std::int64_t> logged, evaluated;
  for (const auto& line : metrics) {
    (line.contains("eval/zero_shot/top1") ? evaluated : logged).push_back(line["step"]);
  }
  EXPECT_EQ(logged, (std::vector<std::int64_t>{3, 6, 9, 10}));
  EXPECT_EQ(evaluated, (std::vector<std::int64_t>{5, 10}));
  for (const char* key : {"epoch", "samples_seen", "loss", "lr", "grad_norm", "logit_scale", "samples_per_s", "step_s",
                          "data_wait_s", "peak_rss_mb", "skipped_samples"}) {
    EXPECT_TRUE(metrics[0].contains(key)) << key;
  }
  EXPECT_EQ(metrics[0]["samples_seen"], 36);
  EXPECT_EQ(metrics[0]["peak_rss_mb"].size(), 2u);
  const auto skipped = tiny.lines("a", "skipped.jsonl");
  ASSERT_EQ(skipped.size(), 1u);  // once, although three epochs met it
  EXPECT_EQ(skipped[0]["key"], "105");
  EXPECT_EQ(tiny.lines("a", "steps.jsonl").size(), 10u);
  const auto trace = nlohmann::json::parse(tiny.text("a", "profile.json"));
  EXPECT_GT(trace["traceEvents"].size(), 100u);
  EXPECT_EQ(CheckpointStore(tiny.run("a") / "checkpoints").steps(), (std::vector<std::int64_t>{10, 8, 4}));
  for (const char* file : {"config.yaml", "environment.json", "log.txt"}) EXPECT_TRUE(fs::exists(tiny.run("a") / file));
  const auto before = tiny.text("a", "metrics.jsonl");
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);  // after the end: nothing
  EXPECT_EQ(tiny.text("a", "metrics.jsonl"), before);
}

TEST(Run, SamplesAndLossesDoNotDependOnTheNumberOfRanks) {
  const TinyRun tiny;
  for (const int ranks : {1, 2, 3}) {
    auto config = tiny.config("n" + std::to_string(ranks));
    config.train.micro_batch = 2;
    config.schedule.total = steps(50);
    config.checkpoint.every = steps(0);
    EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
  }
  const auto one = tiny.lines("n1", "steps.jsonl");
  for (const char* name : {"n2", "n3"}) {
    const auto other = tiny.lines(name, "steps.jsonl");
    ASSERT_EQ(other.size(), one.size());
    for (std::size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(other[i]["samples"], one[i]["samples"]) << i;
      EXPECT_NEAR(number(other[i], "loss") / number(one[i], "loss"), 1, i < 5 ? 1e-5 : 1e-3) << name << " step " << i;
    }
  }
}

TEST(Run, InDoublePrecisionFiftyStepsAgreeOnAnyNumberOfRanks) {
  const TinyRun tiny;
  for (const int ranks : {1, 2, 3}) {
    auto config = tiny.config("d" + std::to_string(ranks));
    config.train.precision = "fp64";
    config.schedule.total = steps(50);
    config.checkpoint.every = steps(0);
    EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
  }
  const auto one = tiny.lines("d1", "steps.jsonl");
  ASSERT_EQ(one.size(), 50u);
  for (const char* name : {"d2", "d3"}) {
    const auto other = tiny.lines(name, "steps.jsonl");
    for (std::size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(other[i]["samples"], one[i]["samples"]);
      EXPECT_NEAR(number(other[i], "loss") / number(one[i], "loss"), 1, 1e-9) << name << " step " << i;
    }
  }
}

TEST(Run, ResumesBitForBitAfterAKill) {
  const TinyRun tiny;
  for (const int ranks : {1, 2, 3}) {
    const auto name = "r" + std::to_string(ranks);
    EXPECT_EQ(TinyRun::train(tiny.config(name), ranks), ExitCode::kDone);
    const auto killed = name + "k";
    tiny.copy_run(name, killed, 4);
    auto config = tiny.config(killed);
    config.data.workers = 3;  // free to change
    EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
    EXPECT_EQ(tiny.text(killed, "steps.jsonl"), tiny.text(name, "steps.jsonl")) << ranks << " ranks";
    EXPECT_EQ(tiny.text(killed, "skipped.jsonl"), tiny.text(name, "skipped.jsonl"));
  }
}

TEST(Run, ResumesFromNothingWhenNoCheckpointWasReached) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 1), ExitCode::kDone);
  tiny.copy_run("a", "b", -1);
  EXPECT_EQ(TinyRun::train(tiny.config("b"), 1), ExitCode::kDone);
  EXPECT_EQ(tiny.text("b", "steps.jsonl"), tiny.text("a", "steps.jsonl"));
}

/// Sends SIGUSR1 to this process once steps.jsonl of `run` has grown to `lines` lines.
std::thread signal_after(const fs::path& file, std::size_t lines) {
  return std::thread([file, lines] {
    for (int i = 0; i < 6000; ++i) {
      std::ifstream stream(file);
      std::size_t count = 0;
      for (std::string line; std::getline(stream, line);) ++count;
      if (count >= lines) {
        kill(getpid(), SIGUSR1);
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
}

TEST(Run, StopsAtASignalOnAllRanksAndGoesOnRepeatedly) {
  const TinyRun tiny;
  auto config = tiny.config("whole");
  config.schedule.total = steps(60);
  config.eval = {ZeroShotConfig{.label = "", .corpus = tiny.labels(), .prompts = "plain", .every = steps(7)}};
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  config.run.name = "stopped";
  int preempted = 0;
  for (std::size_t lines : {3u, 20u, 33u}) {
    auto signal = signal_after(tiny.run("stopped") / "steps.jsonl", lines);
    preempted += TinyRun::train(config, 2) == ExitCode::kPreempted;
    signal.join();
  }
  EXPECT_GE(preempted, 2);
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  EXPECT_EQ(tiny.text("stopped", "steps.jsonl"), tiny.text("whole", "steps.jsonl"));
  const auto whole = tiny.lines("whole", "metrics.jsonl"), stopped = tiny.lines("stopped", "metrics.jsonl");
  ASSERT_EQ(whole.size(), stopped.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i]["step"], stopped[i]["step"]);
    EXPECT_EQ(whole[i].value("eval/zero_shot/top1", -1.0), stopped[i].value("eval/zero_shot/top1", -1.0));
  }
}

TEST(Run, EvaluatingChangesNoTrainingBit) {
  const TinyRun tiny;
  auto config = tiny.config("plain");
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  config.run.name = "evaluated";
  config.eval = {ZeroShotConfig{.label = "", .corpus = tiny.labels(), .prompts = "plain", .every = steps(1)}};
  config.checkpoint.keep_best = KeepBestConfig{"eval/zero_shot/top1", "max"};
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  auto plain = tiny.lines("plain", "steps.jsonl"), evaluated = tiny.lines("evaluated", "steps.jsonl");
  ASSERT_EQ(plain.size(), evaluated.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    plain[i].erase("evaluation");  // what evaluations remember is theirs
    evaluated[i].erase("evaluation");
    EXPECT_EQ(plain[i], evaluated[i]);
  }
}

TEST(Run, GoesOnOnAnotherNumberOfRanksWithTheSameSamples) {
  const TinyRun tiny;
  const auto fourteen = [&](const char* name) {
    auto config = tiny.config(name);
    config.schedule.total = steps(14);
    return config;
  };
  EXPECT_EQ(TinyRun::train(fourteen("a"), 2), ExitCode::kDone);
  tiny.copy_run("a", "b", 4);
  EXPECT_EQ(TinyRun::train(fourteen("b"), 3), ExitCode::kDone);
  const auto a = tiny.lines("a", "steps.jsonl"), b = tiny.lines("b", "steps.jsonl");
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i]["samples"], b[i]["samples"]);
    EXPECT_NEAR(number(b[i], "loss") / number(a[i], "loss"), 1, 1e-4);
  }
}

TEST(Run, ADamagedCheckpointIsSetAsideAndTheOlderOneGivesTheSameBits) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 2), ExitCode::kDone);
  tiny.copy_run("a", "b", 8);
  const CheckpointStore store(tiny.run("b") / "checkpoints");
  fs::resize_file(store.path(8) / "state.safetensors", 1000);
  EXPECT_EQ(TinyRun::train(tiny.config("b"), 2), ExitCode::kDone);
  EXPECT_EQ(tiny.text("b", "steps.jsonl"), tiny.text("a", "steps.jsonl"));
  EXPECT_TRUE(fs::exists(store.path(8).string() + ".bad"));
  tiny.copy_run("a", "c", 4);
  fs::remove(CheckpointStore(tiny.run("c") / "checkpoints").path(4) / "manifest.json");
  refusal(ExitCode::kNoCheckpoint, [&] { TinyRun::train(tiny.config("c"), 2); });
  // Nor by the next start, when it is set aside already: nothing begins anew in silence.
  refusal(ExitCode::kNoCheckpoint, [&] { TinyRun::train(tiny.config("c"), 2); });
  EXPECT_EQ(tiny.lines("c", "steps.jsonl").size(), 10u);
}

TEST(Run, ACheckpointThatCannotBeReadIsNotTakenForDamaged) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 1), ExitCode::kDone);
  const auto newest = CheckpointStore(tiny.run("a") / "checkpoints").path(10);
  auto manifest = verify_checkpoint(newest);
  manifest.format_version = 1;  // of another version of the program
  write_file_atomically(newest / "manifest.json", manifest_text(manifest));
  const auto text = refusal(ExitCode::kNoCheckpoint, [&] { TinyRun::train(tiny.config("a"), 1); });
  EXPECT_NE(text.find("format version 1"), std::string::npos) << text;
  EXPECT_TRUE(fs::exists(newest));
}

TEST(Run, ABranchSavesBeforeItsFirstStep) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 1), ExitCode::kDone);
  const auto from = CheckpointStore(tiny.run("a") / "checkpoints").path(8);
  auto config = tiny.config("b");
  config.checkpoint.every = steps(0);
  EXPECT_EQ(TinyRun::train(config, 2, from.string()), ExitCode::kDone);
  EXPECT_EQ(CheckpointStore(tiny.run("b") / "checkpoints").steps(), (std::vector<std::int64_t>{10, 8}));
}

TEST(Run, ABranchThatFailsInItsFirstStepIsSaved) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 1), ExitCode::kDone);
  const auto from = CheckpointStore(tiny.run("a") / "checkpoints").path(8);
  plan_faults({{.rank = -1, .step = 9, .point = FaultPoint::kForward, .action = FaultAction::kThrow}});
  EXPECT_ANY_THROW(TinyRun::train(tiny.config("b"), 2, from.string()));
  plan_faults({});
  EXPECT_EQ(CheckpointStore(tiny.run("b") / "checkpoints").steps(), std::vector<std::int64_t>{8});
}

TEST(Run, TheBestOfAnotherMetricIsForgotten) {
  const TinyRun tiny;
  auto config = tiny.config("a");
  config.eval = {ZeroShotConfig{.label = "", .corpus = tiny.labels(), .prompts = "plain", .every = steps(2)}};
  config.checkpoint.keep_last = 1;
  config.checkpoint.keep_best = KeepBestConfig{"eval/zero_shot/samples", "max"};  // the first, for ever
  config.schedule.total = steps(10);
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  EXPECT_EQ(CheckpointStore(tiny.run("a") / "checkpoints").steps(), (std::vector<std::int64_t>{10, 2}));
  tiny.copy_run("a", "b", 2);
  config.run.name = "b";
  config.checkpoint.keep_best = KeepBestConfig{"eval/zero_shot/chance", "max"};
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  EXPECT_EQ(CheckpointStore(tiny.run("b") / "checkpoints").steps(), (std::vector<std::int64_t>{10, 4}));
}

TEST(Run, ANamedCheckpointBeginsABranchOrANewRun) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 1), ExitCode::kDone);
  const auto whole = tiny.text("a", "steps.jsonl");
  const CheckpointStore store(tiny.run("a") / "checkpoints");
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 1, store.path(4).string()), ExitCode::kDone);
  EXPECT_EQ(tiny.text("a", "steps.jsonl"), whole);
  EXPECT_TRUE(fs::exists(store.path(8).string() + ".superseded"));
  EXPECT_EQ(TinyRun::train(tiny.config("new"), 1, store.path(4).string()), ExitCode::kDone);
  EXPECT_EQ(tiny.text("new", "steps.jsonl"), whole.substr(whole.size() - tiny.text("new", "steps.jsonl").size()));
  EXPECT_EQ(tiny.lines("new", "steps.jsonl").size(), 6u);
  const auto text = refusal(ExitCode::kUsage, [&] { TinyRun::train(tiny.config("new"), 1, store.path(4).string()); });
  EXPECT_NE(text.find("checkpoint of another run"), std::string::npos) << text;
  refusal(ExitCode::kNoCheckpoint, [&] { TinyRun::train(tiny.config("a"), 1, "/nowhere"); });
  // A whole run stands for its newest checkpoint.
  EXPECT_EQ(TinyRun::train(tiny.config("other"), 1, tiny.run("a").string()), ExitCode::kDone);
  EXPECT_EQ(CheckpointStore(tiny.run("other") / "checkpoints").steps(), (std::vector<std::int64_t>{10}));
  fs::create_directories(tiny.run("empty") / "checkpoints");
  const auto none =
      refusal(ExitCode::kNoCheckpoint, [&] { TinyRun::train(tiny.config("more"), 1, tiny.run("empty").string()); });
  EXPECT_NE(none.find("has no checkpoint"), std::string::npos) << none;
}

TEST(Run, ANamedCheckpointThatIsRefusedLeavesTheRunAsItWas) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 2), ExitCode::kDone);
  const CheckpointStore store(tiny.run("a") / "checkpoints");
  const auto before = store.steps();
  auto config = tiny.config("a");
  config.optimizer.lr = 1;
  refusal(ExitCode::kUsage, [&] { TinyRun::train(config, 2, store.path(4).string()); });
  config = tiny.config("a");
  config.data.corpora.pop_back();
  refusal(ExitCode::kUsage, [&] { TinyRun::train(config, 2, store.path(4).string()); });
  std::ofstream(tiny.path() / "labels" / "train-0.tar", std::ios::app) << std::string(512, 'x');
  refusal(ExitCode::kUsage, [&] { TinyRun::train(tiny.config("a"), 2, store.path(4).string()); });
  EXPECT_EQ(store.steps(), before);
}

TEST(Run, WhatIsDueIsSavedBeforeItIsEvaluated) {
  const TinyRun tiny;
  auto config = tiny.config("a");
  config.eval = {RetrievalConfig{.label = "", .corpus = config.data.corpora[0], .every = steps(2)}};
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  const auto metrics = tiny.text("a", "metrics.jsonl");
  const auto last_evaluation = [&](std::int64_t checkpoint) {
    const auto manifest = verify_checkpoint(CheckpointStore(tiny.run("a") / "checkpoints").path(checkpoint));
    std::istringstream saved(metrics.substr(0, static_cast<std::size_t>(manifest.logs.at("metrics.jsonl"))));
    std::int64_t step = -1;
    for (std::string line; std::getline(saved, line);) {
      const auto json = nlohmann::json::parse(line);
      if (json.contains("eval/retrieval/samples")) step = json["step"];
    }
    return step;
  };
  EXPECT_EQ(last_evaluation(4), 2) << "an evaluation that fails costs nothing";
  EXPECT_EQ(last_evaluation(10), 10) << "a run that is done needs no evaluation when it is started again";
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  EXPECT_EQ(tiny.text("a", "metrics.jsonl"), metrics);
  tiny.copy_run("a", "b", 4);
  config.run.name = "b";
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  EXPECT_EQ(tiny.text("b", "steps.jsonl"), tiny.text("a", "steps.jsonl"));
  EXPECT_EQ(tiny.lines("b", "metrics.jsonl").size(), tiny.lines("a", "metrics.jsonl").size());
}

TEST(Run, WeightsWithoutUsableGradientsDoNotPushOutOthers) {
  const TinyRun tiny;
  auto config = tiny.config("a");
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  const auto before = CheckpointStore(tiny.run("a") / "checkpoints").steps();
  config.optimizer.lr = 1e30;
  config.optimizer.clip_norm = 0;
  config.schedule.total = steps(60);
  config.schedule.warmup = steps(0);
  config.checkpoint.keep_last = 3;
  config.checkpoint.every = steps(2);
  config.train.max_skipped_steps = 20;
  refusal(ExitCode::kNotFinite, [&] { TinyRun::train(config, 2, "auto", {"optimizer", "schedule", "train"}); });
  const auto after = CheckpointStore(tiny.run("a") / "checkpoints").steps();
  EXPECT_NE(std::find(after.begin(), after.end(), before.front()), after.end());
}

TEST(Run, TheBestCheckpointSurvivesPruning) {
  const TinyRun tiny;
  auto config = tiny.config("a");
  config.checkpoint.keep_last = 1;
  config.checkpoint.every = steps(1);
  config.eval = {RetrievalConfig{.label = "", .corpus = config.data.corpora[0], .every = steps(1)}};
  config.checkpoint.keep_best = KeepBestConfig{"eval/retrieval/image_to_text_r5", "min"};
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  double best = 2;
  std::int64_t best_step = -1;
  for (const auto& line : tiny.lines("a", "metrics.jsonl")) {
    const double value = line.value("eval/retrieval/image_to_text_r5", 2.0);
    if (value >= best) continue;
    best = value;
    best_step = line["step"];
  }
  auto expected = std::vector<std::int64_t>{10, best_step};
  expected.resize(best_step == 10 ? 1 : 2);
  EXPECT_LT(best_step, 10) << "this test shows something only when the best is not the last";
  EXPECT_EQ(CheckpointStore(tiny.run("a") / "checkpoints").steps(), expected);
}

TEST(Run, InitialWeightsAreNotReadAgain) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 1), ExitCode::kDone);
  const auto weights = tiny.path() / "weights.safetensors";
  fs::copy(CheckpointStore(tiny.run("a") / "checkpoints").path(8) / "model.safetensors", weights);
  auto config = tiny.config("b");
  config.model.init_from.whole = weights.string();
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  tiny.copy_run("b", "c", 4);
  fs::remove(weights);
  config.run.name = "c";
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  EXPECT_EQ(tiny.text("c", "steps.jsonl"), tiny.text("b", "steps.jsonl"));
  config.run.name = "d";
  refusal(ExitCode::kUsage, [&] { TinyRun::train(config, 1); });
}

TEST(Run, RefusesChangesAndOccupiedDirectories) {
  const TinyRun tiny;
  EXPECT_EQ(TinyRun::train(tiny.config("a"), 2), ExitCode::kDone);
  auto config = tiny.config("a");
  config.optimizer.lr = 1e-4;
  auto text = refusal(ExitCode::kUsage, [&] { TinyRun::train(config, 2); });
  EXPECT_NE(text.find("optimizer.lr"), std::string::npos) << text;
  text = refusal(ExitCode::kUsage, [&] { TinyRun::train(config, 2, "auto", {"optimizer.lr", "optimizer.rl"}); });
  EXPECT_NE(text.find("--allow-change optimizer.rl: there is no such key"), std::string::npos) << text;
  EXPECT_EQ(TinyRun::train(config, 2, "auto", {"optimizer.lr"}), ExitCode::kDone);
  text = refusal(ExitCode::kUsage, [&] { TinyRun::train(tiny.config("a"), 2, "never"); });
  EXPECT_NE(text.find("already holds a run"), std::string::npos) << text;
  auto more_ranks = tiny.config("b");
  more_ranks.train.global_batch = 2;
  text = refusal(ExitCode::kUsage, [&] { TinyRun::train(more_ranks, 3); });
  EXPECT_NE(text.find("train.global_batch: 3 ranks"), std::string::npos) << text;
  auto huge = tiny.config("c");
  huge.train.global_batch = 3'000'000'000;
  text = refusal(ExitCode::kUsage, [&] { TinyRun::train(huge, 2); });
  EXPECT_NE(text.find("train.global_batch"), std::string::npos) << text;
}

TEST(Run, TooManyBadRecordsEndItOnAllRanks) {
  const TinyRun tiny;
  {
    TarWriter tar;
    for (int i = 0; i < 24; ++i) {
      auto png = tiny_png(20, 18, i);
      if (i % 2) png.resize(50);
      tar.file("z" + std::to_string(i) + ".png", png).file("z" + std::to_string(i) + ".txt", "word");
    }
    write_test_file(tiny.path() / "texts" / "train-2.tar", tar.end().bytes());
  }
  const auto text = refusal(ExitCode::kData, [&] { TinyRun::train(tiny.config("a"), 3); });
  EXPECT_NE(text.find("data.error_budget allows 10"), std::string::npos) << text;
  EXPECT_GT(tiny.lines("a", "skipped.jsonl").size(), 10u);
}

TEST(Run, ConfigurationsThatDifferBetweenRanksAreRefused) {
  const TinyRun tiny;
  std::atomic<int> refused = 0;
  run_ranks(2, [&](Collectives& comm) {
    auto config = tiny.config("a");
    config.optimizer.lr = comm.rank() + 1.0;
    const TrainRequest request{
        .config = config, .config_text = train_config_text(config), .run_dir = "", .allow_change = {}};
    try {
      run_training(request, TinyRun::place_of(comm), comm);
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("configuration of rank 1"), std::string::npos) << error.what();
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
}

/// The negative control of exact resume: whatever single item is lost, the resumed run's record differs.
TEST(Run, LosingAnyItemOfStateIsSeen) {
  const TinyRun tiny;
  auto config = tiny.config("a");
  config.schedule.total = steps(5);
  config.log.tensorboard = false;
  config.eval = {ZeroShotConfig{.label = "", .corpus = tiny.labels(), .prompts = "plain", .every = steps(3)}};
  config.checkpoint.keep_best = KeepBestConfig{"eval/zero_shot/top1", "max"};
  const auto only_when_skipping = losses_not_seen(tiny, config, [](const auto&) { return true; });
  EXPECT_EQ(only_when_skipping, std::vector<std::string>{"guard.skipped_in_a_row"});
  config.optimizer.lr = 1e30;  // from the second step on nothing is finite
  config.train.max_skipped_steps = 100;
  // Between refused steps only the best is saved, as the first evaluated is.
  config.eval = {ZeroShotConfig{.label = "", .corpus = tiny.labels(), .prompts = "plain", .every = steps(4)}};
  const auto were_not_seen = [&](const std::string& name) {
    return std::find(only_when_skipping.begin(), only_when_skipping.end(), name) != only_when_skipping.end();
  };
  EXPECT_EQ(losses_not_seen(tiny, config, were_not_seen), std::vector<std::string>{});
}

}  // namespace
}  // namespace triptych

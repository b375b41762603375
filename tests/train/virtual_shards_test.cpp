// distributed.virtual_shards: whole runs give the same bytes on any number of ranks, also when that number changes in
// the middle, and what would break that is refused.
#include "core/train/virtual_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/train/checkpoint_store.h"
#include "core/train/resume.h"
#include "core/train/run_changes.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

using testing::HasSubstr;

/// 24 shards of two rows; an epoch is two thirds of a step, so batches cross its end.
TrainConfig sharded_config(const TinyRun& tiny, const std::string& name) {
  auto config = tiny.config(name);
  config.train.global_batch = 48;
  config.distributed.virtual_shards = 24;
  config.checkpoint.every = steps(2);
  return config;
}

std::string proof_of(const TinyRun& tiny, const TrainConfig& config, int ranks) {
  EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
  return tiny.text(config.run.name, "steps.jsonl");
}

/// Runs of `config` on each number of ranks have the same steps.jsonl: losses, norms and hashes of all state.
void expect_same_bits(const TinyRun& tiny, TrainConfig config, const std::vector<int>& all_ranks) {
  const auto name = config.run.name;
  std::string first;
  for (const int ranks : all_ranks) {
    config.run.name = name + std::to_string(ranks);
    const auto proof = proof_of(tiny, config, ranks);
    EXPECT_GT(proof.size(), 1000u);
    if (first.empty()) first = proof;
    EXPECT_EQ(proof, first) << name << " on " << ranks << " ranks";
  }
}

double exact_number(const nlohmann::json& line, const char* key) {
  return std::strtod(line.at(key).get<std::string>().c_str(), nullptr);
}

/// The largest relative difference of losses and gradient norms in the first `count` steps.
double most_difference(const TinyRun& tiny, const std::string& a, const std::string& b, std::size_t count) {
  const auto left = tiny.lines(a, "steps.jsonl"), right = tiny.lines(b, "steps.jsonl");
  double most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    for (const char* key : {"loss", "grad_norm"})
      most = std::max(most, std::abs(exact_number(left.at(i), key) / exact_number(right.at(i), key) - 1));
  }
  return most;
}

TEST(VirtualShards, EveryNumberOfRanksGivesTheSameBytes) {
  const TinyRun tiny;
  expect_same_bits(tiny, sharded_config(tiny, "n"), {1, 2, 3, 4, 8});
  // Not by the record alone: files of the checkpoints, and the terms of the loss.
  for (const char* file : {"model.safetensors", "state.safetensors"}) {
    const auto of = [&](const char* run) {
      return read_file(CheckpointStore(tiny.run(run) / "checkpoints").path(10) / file);
    };
    for (const char* run : {"n2", "n3", "n4", "n8"}) EXPECT_EQ(of(run), of("n1")) << run << " " << file;
  }
  const auto one = tiny.lines("n1", "metrics.jsonl"), eight = tiny.lines("n8", "metrics.jsonl");
  ASSERT_EQ(one.size(), eight.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    for (const auto& [key, value] : one[i].items()) {
      if (!key.starts_with("loss")) continue;
      EXPECT_EQ(value, eight[i].at(key)) << key;
    }
  }
}

TEST(VirtualShards, ControlWithoutThemBitsDependOnTheNumberOfRanks) {
  const TinyRun tiny;
  std::vector<std::string> proofs;
  for (const int ranks : {1, 2, 3}) {
    auto config = sharded_config(tiny, "plain" + std::to_string(ranks));
    config.distributed.virtual_shards = 0;
    config.train.micro_batch = 2;  // towers have the same shapes
    proofs.push_back(proof_of(tiny, config, ranks));
  }
  EXPECT_NE(proofs[0], proofs[1]);
  EXPECT_NE(proofs[0], proofs[2]);
  EXPECT_NE(proofs[1], proofs[2]);
}

TEST(VirtualShards, AWalkOverNumbersOfRanksInTheMiddleOfEpochsGivesTheSameBytes) {
  const TinyRun tiny;
  const auto whole = proof_of(tiny, sharded_config(tiny, "whole"), 1);
  std::string before = "walk4";
  proof_of(tiny, sharded_config(tiny, before), 4);
  std::int64_t step = 2;
  for (const int ranks : {2, 1, 3, 8}) {
    const auto name = before + "_" + std::to_string(ranks);
    tiny.copy_run(before, name, step);
    EXPECT_EQ(proof_of(tiny, sharded_config(tiny, name), ranks), whole) << name << " from step " << step;
    EXPECT_THAT(tiny.text(name, "log.txt"), testing::Not(HasSubstr("last bits"))) << "no warning of other bits";
    before = name;
    step += 2;
  }
}

TEST(VirtualShards, SettingsOfTheStepKeepTheBits) {
  const TinyRun tiny;
  auto config = sharded_config(tiny, "bf16");
  SwinConfig swin;
  swin.image_size = 16;
  swin.patch_size = 2;
  swin.width = 8;
  swin.window = 4;
  swin.depths = {2, 1};
  swin.heads = {1, 2};
  swin.drop_path = 0.3;
  BertConfig bert;
  bert.context = bert.positions = 8;
  bert.width = 8;
  bert.depth = 1;
  bert.heads = 2;
  // Not BERT: its recomputed blocks cast an input three times, and torch keeps casts for the process, so that ranks
  // that are threads drop each other's. EndToEnd.VirtualShards... has it on processes.
  config.model.image = swin;
  config.train.precision = "bf16";
  config.train.activation_checkpointing = true;
  config.train.ema = EmaConfig{};
  config.train.skip_norm_above = 4;
  config.schedule.total = steps(4);
  expect_same_bits(tiny, config, {1, 3, 8});
  config.run.name = "bert";
  config.model.text = bert;
  config.train.activation_checkpointing = false;
  expect_same_bits(tiny, config, {1, 3});
  config.run.name = "fp16";
  config.train.precision = "fp16";
  config.train.init_loss_scale = 1024;
  config.optimizer.clip_norm = 0.1;
  config.optimizer.freeze = {"visual.*"};
  expect_same_bits(tiny, config, {1, 2, 4});
}

TEST(VirtualShards, AShardedOptimizerKeepsTheBits) {
  const TinyRun tiny;
  auto config = sharded_config(tiny, "whole");
  const auto whole = proof_of(tiny, config, 1);
  config.optimizer.shard = true;
  config.run.name = "sharded";
  EXPECT_EQ(proof_of(tiny, config, 3), whole);
}

TEST(VirtualShards, EveryObjectiveThatTakesThemKeepsTheBits) {
  const TinyRun tiny;
  const auto run = [&](const std::string& name, const ObjectiveConfig& objective, bool labels) {
    auto config = sharded_config(tiny, name);
    config.objective = objective;
    config.train.global_batch = 12;
    config.distributed.virtual_shards = 6;
    config.schedule.total = steps(5);
    if (labels) config.data.corpora = {tiny.labels()};
    if (name == "captions") {
      config.data.corpora.erase(config.data.corpora.begin() + 1);
      config.data.captions.all_positive = 2;
    }
    if (name == "mixed") {
      ImagenetAugment augment;
      augment.mix.mixup_alpha = 1;
      config.data.augment = augment;
      config.model.text = LabelEmbeddingConfig{};
    }
    expect_same_bits(tiny, config, {1, 3, 6});  // up to one shard a rank, which encodes once
    if (name == "mixed") return;  // rows are mixed with others of their micro-batch: the ordinary mode mixes more
    config.run.name = name + "_ordinary";
    config.distributed.virtual_shards = 0;
    EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
    EXPECT_LT(most_difference(tiny, name + "1", config.run.name, 3), 1e-5) << name;
  };
  run("clip", ClipConfig{}, false);
  run("captions", ClipConfig{}, false);
  run("mixed", UniclConfig{}, true);
  run("columns", UniclConfig{.directions = "columns"}, false);
  run("siglip", SigLipConfig{}, false);
  run("supcon", SupConConfig{}, true);
  run("cross_entropy", CrossEntropyConfig{.label_smoothing = 0.1}, true);
}

TEST(VirtualShards, InDoublePrecisionTheyAgreeWithTheOrdinaryModeToRounding) {
  const TinyRun tiny;
  auto config = sharded_config(tiny, "shards");
  config.train.precision = "fp64";
  EXPECT_EQ(TinyRun::train(config, 3), ExitCode::kDone);
  config.run.name = "ordinary";
  config.distributed.virtual_shards = 0;
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  EXPECT_LT(most_difference(tiny, "shards", "ordinary", 10), 1e-11);
}

/// What `change` makes of a configuration that is accepted.
std::string refused(const std::function<void(TrainConfig&)>& change, std::int64_t ranks = 1) {
  TrainConfig config;
  config.train.global_batch = 48;
  config.distributed.virtual_shards = 24;
  change(config);
  try {
    config.validate();
    plan_batch(config, ranks);
  } catch (const FieldError& error) {
    return error.key() + ": " + error.what();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(VirtualShards, WhatDependsOnTheCutIntoRanksIsRefused) {
  const auto plan = [] {
    TrainConfig config;
    config.train.global_batch = 48;
    config.distributed.virtual_shards = 24;
    return plan_batch(config, 3);
  }();
  EXPECT_EQ(plan.local, 16);
  EXPECT_EQ(plan.micro, 2);
  for (const int ranks : {1, 2, 3, 4, 6, 8, 12, 24}) EXPECT_EQ(refused([](auto&) {}, ranks), "accepted");
  EXPECT_EQ(refused([](auto&) {}, 5),
            "distributed.virtual_shards: 24 shards do not divide among 5 ranks; start one of 1, 2, 3, 4, 6, 8, 12, 24 "
            "ranks");
  EXPECT_THAT(refused([](auto&) {}, 16), HasSubstr("do not divide among 16 ranks"));  // although 48 rows would
  EXPECT_THAT(refused([](auto& c) { c.distributed.virtual_shards = 5; }),
              HasSubstr("5 shards do not divide train.global_batch 48; use one of 1, 2, 3, 4, 6,"));
  EXPECT_THAT(refused([](auto& c) { c.train.micro_batch = 4; }), HasSubstr("train.micro_batch: 4, but a micro-batch"));
  EXPECT_EQ(refused([](auto& c) { c.train.micro_batch = 2; }), "accepted");
  EXPECT_THAT(refused([](auto& c) { c.model.image = ResNetConfig{}; }), HasSubstr("model.image.type: resnet"));
  EXPECT_THAT(refused([](auto& c) { c.objective = TclConfig{}; }), HasSubstr("objective.name: tcl"));
  EXPECT_THAT(refused([](auto& c) { c.objective = LoupeConfig{}; }), HasSubstr("objective.name: loupe"));
  for (const bool clip : {false, true}) {
    EXPECT_THAT(refused([&](auto& c) {
                  if (clip) c.objective = ClipConfig{.exchange = "ring"};
                  if (!clip) c.objective = UniclConfig{.exchange = "ring"};
                }),
                HasSubstr("objective.exchange: ring adds up"));
  }
}

TEST(VirtualShards, AnotherNumberOfThemIsRefusedAtResumeAndOtherRanksAreNoNews) {
  TrainConfig saved;
  saved.distributed.virtual_shards = 24;
  auto now = saved;
  now.distributed.virtual_shards = 8;
  try {
    check_changes(train_config_text(saved), train_config_text(now), {});
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("distributed.virtual_shards: '24' -> '8'"));
  }
  Manifest manifest;
  manifest.ranks = 4;
  manifest.threads = 2;
  manifest.device = "cpu";
  manifest.instruction_set = "AVX2";
  EXPECT_EQ(environment_changes(manifest, 3, 2, "cpu", "AVX2", /*any_ranks=*/true), "");
  EXPECT_THAT(environment_changes(manifest, 3, 2, "cpu", "AVX2"), HasSubstr("ranks 4 -> 3"));
  EXPECT_THAT(environment_changes(manifest, 3, 1, "cpu", "AVX2", true),
              testing::AllOf(HasSubstr("threads 2 -> 1"), testing::Not(HasSubstr("ranks"))));
}

}  // namespace
}  // namespace triptych

// Whole runs under the settings of how a step is computed: each resumes bit for bit, and those that promise the same
// numbers give them.
#include <gtest/gtest.h>

#include "core/module/safetensors.h"
#include "core/train/checkpoint_store.h"
#include "core/train/loss_scaler.h"
#include "core/train/optimizer.h"
#include "tests/support/tensors.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

SwinConfig tiny_swin() {
  SwinConfig config;
  config.image_size = 16;
  config.patch_size = 2;
  config.width = 8;
  config.window = 4;
  config.depths = {2, 1};
  config.heads = {1, 2};
  config.drop_path = 0.3;
  return config;
}

BertConfig tiny_bert() {
  BertConfig config;
  config.context = 8;
  config.width = 8;
  config.depth = 1;
  config.heads = 2;
  config.positions = 8;
  return config;
}

ResNetConfig tiny_resnet() {
  ResNetConfig config;
  config.image_size = 32;
  config.width = 2;
  config.depths = {1, 1, 1, 1};
  return config;
}

/// Trains, takes the run back to step 4 and trains on; both must agree in every bit.
void expect_exact_resume(const TinyRun& tiny, TrainConfig config, int ranks, int ranks_after) {
  const std::string name = config.run.name;
  EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
  tiny.copy_run(name, name + "k", 4);
  config.run.name = name + "k";
  EXPECT_EQ(TinyRun::train(config, ranks_after), ExitCode::kDone);
  EXPECT_EQ(tiny.text(name + "k", "steps.jsonl"), tiny.text(name, "steps.jsonl")) << name;
}

TEST(ComputingRun, EveryTowerResumesBitForBit) {
  const TinyRun tiny;
  auto config = tiny.config("swin");
  config.model.image = tiny_swin();
  config.model.text = tiny_bert();
  config.train.micro_batch = 3;
  expect_exact_resume(tiny, config, 2, 2);
  config.run.name = "resnet";
  config.model.image = tiny_resnet();
  expect_exact_resume(tiny, config, 2, 2);
  // Running averages are state.
  const SafetensorsReader model(CheckpointStore(tiny.run("resnet") / "checkpoints").path(10) / "model.safetensors");
  EXPECT_EQ(model.read("visual.bn1.num_batches_tracked").item<std::int64_t>(), 10);
  EXPECT_GT(model.read("visual.bn1.running_mean").abs().max().item<double>(), 0);
}

TEST(ComputingRun, LabelEmbeddingTrainsOnLabelsAlone) {
  const TinyRun tiny;
  auto config = tiny.config("labels");
  config.data.corpora = {tiny.labels()};
  config.train.global_batch = 6;
  config.model.text = LabelEmbeddingConfig{};
  config.eval = {ClassifyConfig{.label = "", .corpus = tiny.labels(), .every = steps(5)}};
  expect_exact_resume(tiny, config, 2, 2);
}

TEST(ComputingRun, ActivationCheckpointingChangesNoBit) {
  const TinyRun tiny;
  for (const int ranks : {1, 2}) {
    auto config = tiny.config("kept" + std::to_string(ranks));
    config.model.image = tiny_swin();
    config.model.text = tiny_bert();
    config.train.micro_batch = 3;
    EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
    const auto kept = tiny.text(config.run.name, "steps.jsonl");
    config.run.name = "again" + std::to_string(ranks);
    config.train.activation_checkpointing = true;
    EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
    EXPECT_EQ(tiny.text(config.run.name, "steps.jsonl"), kept);
  }
}

TEST(ComputingRun, ShardedOptimizerGivesTheSameBitsAndResumesOnAnyNumberOfRanks) {
  const TinyRun tiny;
  auto config = tiny.config("whole");
  EXPECT_EQ(TinyRun::train(config, 3), ExitCode::kDone);
  config.run.name = "sharded";
  config.optimizer.shard = true;
  expect_exact_resume(tiny, config, 3, 3);
  EXPECT_EQ(tiny.text("sharded", "steps.jsonl"), tiny.text("whole", "steps.jsonl"));
  for (const char* file : {"model.safetensors", "state.safetensors"}) {
    const auto of = [&](const char* run) {
      return read_file(CheckpointStore(tiny.run(run) / "checkpoints").path(10) / file);
    };
    EXPECT_EQ(of("sharded"), of("whole")) << file;
  }
  tiny.copy_run("sharded", "fewer", 4);  // three ranks, then two
  config.run.name = "fewer";
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  const auto fewer = tiny.lines("fewer", "steps.jsonl"), whole = tiny.lines("whole", "steps.jsonl");
  ASSERT_EQ(fewer.size(), whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(fewer[i]["samples"], whole[i]["samples"]);
}

TEST(ComputingRun, ShardingMeetsFrozenTowersAveragesAndALossScale) {
  const TinyRun tiny;
  for (const std::string precision : {"fp32", "fp16"}) {
    auto config = tiny.config("whole_" + precision);
    config.train.precision = precision;
    if (precision == "fp16") config.train.init_loss_scale = 1024;
    config.train.ema = EmaConfig{};
    config.train.micro_batch = 2;
    config.optimizer.freeze = {"visual.*"};
    EXPECT_EQ(TinyRun::train(config, 3), ExitCode::kDone);
    config.run.name = "sharded_" + precision;
    config.optimizer.shard = true;
    expect_exact_resume(tiny, config, 3, 3);
    for (const char* file : {"model.safetensors", "state.safetensors"}) {
      const auto of = [&](const std::string& run) {
        return read_file(CheckpointStore(tiny.run(run + precision) / "checkpoints").path(10) / file);
      };
      EXPECT_EQ(of("sharded_"), of("whole_")) << file << " " << precision;
    }
  }
}

TEST(ShardedOptimizer, RanksShareTheMoments) {
  std::vector<std::int64_t> bytes(3);
  std::int64_t all = 0;
  run_ranks(3, [&](Collectives& comm) {
    std::vector<NamedTensor> parameters;
    for (const std::int64_t size : {700, 600, 500, 400, 300, 200, 100})
      parameters.push_back({"p" + std::to_string(size) + ".weight", leaf(at::zeros({size, 2}))});
    OptimizerConfig config;
    config.shard = true;
    const AdamW sharded(config, parameters, {}, comm);
    bytes[static_cast<std::size_t>(comm.rank())] = sharded.moment_bytes();
    config.shard = false;
    if (comm.rank() == 0) all = AdamW(config, parameters, {}, comm).moment_bytes();
  });
  EXPECT_EQ(bytes[0] + bytes[1] + bytes[2], all);
  for (const auto mine : bytes) EXPECT_NEAR(static_cast<double>(mine), static_cast<double>(all) / 3, 0.1 * all);
}

TEST(ComputingRun, Fp16TrainsUnderALossScaleAndResumes) {
  const TinyRun tiny;
  auto config = tiny.config("fp32");
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  config.run.name = "fp16";
  config.train.precision = "fp16";
  config.train.init_loss_scale = 1e30;  // overflows at first
  config.schedule.total = steps(120);
  expect_exact_resume(tiny, config, 2, 2);
  const auto fp16 = tiny.lines("fp16", "metrics.jsonl"), records = tiny.lines("fp16", "steps.jsonl");
  EXPECT_TRUE(records.front()["skipped"].get<bool>());
  EXPECT_FALSE(records.back()["skipped"].get<bool>());
  EXPECT_GT(fp16.back()["loss_scale"].get<double>(), 1);
  EXPECT_EQ(fp16.back()["skipped_steps"].get<int>(), 0);  // none that the guard counts

  config.run.name = "plain16";
  config.train.init_loss_scale = 1024;
  config.schedule.total = steps(10);
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  const auto narrow = tiny.lines("plain16", "metrics.jsonl"), wide = tiny.lines("fp32", "metrics.jsonl");
  for (std::size_t i = 0; i < wide.size(); ++i)
    EXPECT_NEAR(narrow[i]["loss"].get<double>(), wide[i]["loss"].get<double>(), 2e-2);
}

TEST(LossScaler, HalvesAtOverflowsAndDoublesAfterThem) {
  LossScaler scaler(4);
  EXPECT_EQ(scaler.take(false), LossScaler::Outcome::kOverflow);
  EXPECT_EQ(scaler.scale(), 2);
  for (int i = 0; i < LossScaler::kStepsToDouble; ++i) EXPECT_EQ(scaler.take(true), LossScaler::Outcome::kFine);
  EXPECT_EQ(scaler.scale(), 4);
  EXPECT_EQ(scaler.take(false), LossScaler::Outcome::kOverflow);
  EXPECT_EQ(scaler.take(false), LossScaler::Outcome::kOverflow);
  EXPECT_EQ(scaler.overflows(), 3);
  EXPECT_EQ(scaler.take(false), LossScaler::Outcome::kFine);  // at 1 it is not the scale's doing: the guard judges
}

}  // namespace
}  // namespace triptych

// A plan's parts against plain counts.
#include "core/train/run_plan.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/errors.h"

namespace triptych {
namespace {

TrainConfig small_run() {
  TrainConfig config;
  config.model.image = VitConfig{.image_size = 32, .patch_size = 8, .width = 32, .depth = 2, .heads = 4};
  config.model.text = CausalTransformerConfig{.context = 16, .width = 24, .depth = 2, .heads = 2, .vocabulary = 100};
  config.model.embed_dim = 16;
  config.train.global_batch = 64;
  return config;
}

CorpusFacts planned_facts() {
  CorpusFacts facts;
  facts.records_per_epoch = 1'000'000;
  facts.num_labels = 10;
  return facts;
}

RunPlan plan(const TrainConfig& config, std::int64_t ranks, const std::string& device = "h100",
             std::int64_t text_tokens = 0) {
  return plan_run({.config = config, .ranks = ranks, .device = device_facts(device), .text_tokens = text_tokens},
                  planned_facts());
}

const PlannedExchange& exchange(const RunPlan& plan, const std::string& what) {
  for (const auto& one : plan.exchanges) {
    if (one.what == what) return one;
  }
  throw std::logic_error("no exchange of " + what);
}

/// Width w, ratio 4: q, k, v, out, both products of the MLP with their biases, two norms.
std::int64_t block_parameters(std::int64_t w) {
  return 12 * w * w + 9 * w + 4 * w;
}

TEST(RunPlan, CountsParametersExactly) {
  const auto parts = plan(small_run(), 1).parameters;
  const std::int64_t image = 32 + 17 * 32 + 32 * 3 * 64 + 4 * 32 + 2 * block_parameters(32) + 32 * 16;
  const std::int64_t text = 100 * 24 + 16 * 24 + 2 * block_parameters(24) + 2 * 24 + 24 * 16;
  EXPECT_THAT(parts, testing::UnorderedElementsAre(testing::Pair("image tower", image),
                                                   testing::Pair("text tower", text), testing::Pair("logits", 1)));
  EXPECT_EQ(plan(small_run(), 1).trained, image + text + 1);
}

TEST(RunPlan, MemoryFollowsParametersAndSettings) {
  auto config = small_run();
  const auto plain = plan(config, 4, "cpu");
  const std::int64_t bytes = 4 * plain.trained;
  EXPECT_EQ(plain.memory.weights, bytes);
  EXPECT_EQ(plain.memory.gradients, bytes);
  EXPECT_EQ(plain.memory.optimizer, 2 * bytes);
  EXPECT_EQ(plain.memory.snapshot, 3 * bytes);
  EXPECT_EQ(plain.memory.queue, 0);
  EXPECT_EQ(plain.memory.batches, (config.data.prefetch + 1) * 16 * (3 * 32 * 32 + 8 * 16));
  config.optimizer.shard = true;
  config.train.ema = EmaConfig{};
  config.train.micro_batch = 4;
  const auto sharded = plan(config, 4, "cpu");
  EXPECT_NEAR(static_cast<double>(sharded.memory.optimizer), 0.5 * static_cast<double>(bytes), 4);
  EXPECT_EQ(sharded.memory.weights, 2 * bytes);
  EXPECT_EQ(sharded.memory.gradients, 2 * bytes);
  EXPECT_LT(sharded.memory.activations, plain.memory.activations / 3);
  EXPECT_EQ(plan(config, 4, "h100").memory.snapshot, 0);
}

TEST(RunPlan, VirtualShardsCostTheLossOfAllRowsSumsAndAWiderExchange) {
  auto config = small_run();
  config.train.micro_batch = 8;
  const auto plain = plan(config, 4);
  config.train.micro_batch = 0;
  config.distributed.virtual_shards = 8;
  const auto sharded = plan(config, 4);
  const std::int64_t bytes = 4 * plain.trained;
  EXPECT_EQ(sharded.micro_batch, 8);
  EXPECT_EQ(sharded.forward_flops, plain.forward_flops);
  EXPECT_EQ(sharded.first_pass_flops, plain.first_pass_flops);
  // One rank with all 64 rows: two products for softmaxes and gradients each, by as many ranks.
  EXPECT_EQ(sharded.loss_flops * 16, 4.0 * 2 * 64 * 64 * 16);
  EXPECT_GT(sharded.loss_flops, 2 * plain.loss_flops);
  // Two shards a rank: the sum of one waits for the other; all that is gathered fits at once.
  EXPECT_EQ(sharded.memory.gradients, 2 * bytes + 4 * bytes + bytes);
  EXPECT_EQ(exchange(sharded, "gradients of shards").bytes, 3 * bytes);  // one node to each of three others
  EXPECT_EQ(exchange(plain, "gradients").bytes, 2 * bytes * 3 / 4);
  EXPECT_EQ(exchange(sharded, "embeddings").bytes, 2 * 16 * 4 * 16 * 3);
  EXPECT_NEAR(sharded.step_s, sharded.compute_s + sharded.communication_s, 1e-12) << "nothing hides";
  EXPECT_EQ(sharded.largest_local_batch, 2 * sharded.largest_micro_batch);
  EXPECT_THROW(plan(config, 3), ConfigError);
}

TEST(RunPlan, MicroBatchesCostASecondForwardAndTrimmedTextsLess) {
  auto config = small_run();
  const auto whole = plan(config, 2);
  config.train.micro_batch = 8;
  const auto pieces = plan(config, 2);
  EXPECT_DOUBLE_EQ(pieces.forward_flops, whole.forward_flops);
  EXPECT_DOUBLE_EQ(whole.first_pass_flops, 0);
  EXPECT_DOUBLE_EQ(pieces.first_pass_flops, pieces.forward_flops);
  EXPECT_LT(plan(config, 2, "h100", 8).forward_flops, whole.forward_flops);
  EXPECT_EQ(plan(config, 2, "h100", 8).parameters, whole.parameters);
  EXPECT_THROW(plan(config, 2, "h100", 17), ConfigError);
  auto whole_texts = config;
  std::get<CausalTransformerConfig>(whole_texts.model.text).trim = false;
  EXPECT_THROW(plan(whole_texts, 2, "h100", 8), ConfigError);
  config.objective = CrossEntropyConfig{};  // rows do not meet: nothing runs twice
  EXPECT_DOUBLE_EQ(plan(config, 2).first_pass_flops, 0);
}

TEST(RunPlan, ExchangesAreThoseOfARing) {
  auto config = small_run();
  EXPECT_TRUE(plan(config, 1).exchanges.empty());
  const auto several = plan(config, 4);
  const double bytes = 4.0 * static_cast<double>(several.trained);
  const auto& h100 = device_facts("h100");
  const auto& gradients = exchange(several, "gradients");
  EXPECT_NEAR(static_cast<double>(gradients.bytes), 1.5 * bytes, 1);
  EXPECT_DOUBLE_EQ(gradients.seconds, 2 * 3 * (h100.within.latency_s + bytes / 4 / h100.within.bytes_per_s));
  // 64 images and 64 texts of 16 fp32 numbers, of which each rank sends its quarter three times.
  EXPECT_EQ(exchange(several, "embeddings").bytes, 128 * 16 * 4 * 3 / 4);
  // Two numbers for each image and text, a label for each pair.
  EXPECT_EQ(exchange(several, "log-sum-exps and labels").bytes, 64 * (2 * 2 * 4 + 8) * 3 / 4);
  EXPECT_GT(exchange(plan(config, 16), "gradients").seconds, gradients.seconds);  // across machines
  config.objective = CrossEntropyConfig{};
  EXPECT_EQ(plan(config, 4).exchanges.size(), 1U);
}

TEST(RunPlan, LargestBatchIsWhatStillFits) {
  auto config = small_run();
  const auto found = plan(config, 1);
  ASSERT_GT(found.largest_micro_batch, 64);
  config.train.global_batch = found.largest_micro_batch;
  EXPECT_LE(plan(config, 1).memory.total(), found.available);
  config.train.global_batch = found.largest_micro_batch + found.largest_micro_batch / 16;
  EXPECT_GT(plan(config, 1).memory.total(), found.available);
  EXPECT_GE(found.largest_local_batch, found.largest_micro_batch);
}

TEST(RunPlan, EveryObjectiveHasOne) {
  for (const ObjectiveConfig& objective :
       {ObjectiveConfig(UniclConfig{}), ObjectiveConfig(ClipConfig{}), ObjectiveConfig(SigLipConfig{}),
        ObjectiveConfig(SupConConfig{}), ObjectiveConfig(CrossEntropyConfig{})}) {
    auto config = small_run();
    config.objective = objective;
    for (const std::string precision : {"fp32", "bf16", "fp16"}) {
      config.train.precision = precision;
      const auto made = plan(config, 8, "a100");
      EXPECT_GT(made.memory.activations, 0);
      // A classifier's scores are gone before its tower takes the most.
      EXPECT_TRUE(made.memory.loss > 0 || std::holds_alternative<CrossEntropyConfig>(objective));
      EXPECT_TRUE(std::isfinite(made.step_s) && made.step_s > 0);
      EXPECT_GT(made.largest_local_batch, 0);
    }
  }
}

}  // namespace
}  // namespace triptych

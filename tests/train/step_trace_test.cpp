// The trace on shapes against closed formulas (work) and against a real step on the CPU (memory).
#include "core/train/step_trace.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/objective/objective_table.h"
#include "core/train/memory_estimate.h"
#include "core/train/trainer.h"
#include "distributed/thread_backend.h"

namespace triptych {
namespace {

constexpr std::int64_t kClasses = 5;

CorpusFacts traced_facts() {
  CorpusFacts facts;
  facts.num_labels = kClasses;
  return facts;
}

TrainConfig small_pair() {
  TrainConfig config;
  config.model.image = VitConfig{.image_size = 48, .patch_size = 8, .width = 32, .depth = 3, .heads = 4};
  config.model.text = CausalTransformerConfig{.context = 12, .width = 24, .depth = 2, .heads = 2, .vocabulary = 100};
  config.model.embed_dim = 16;
  return config;
}

TrainConfig classifier(ImageTowerConfig image) {
  TrainConfig config;
  config.model.image = std::move(image);
  config.objective = CrossEntropyConfig{};
  return config;
}

StepTrace trace(const TrainConfig& config, std::int64_t rows, std::int64_t ranks = 1) {
  const auto objective = objective_on_meta(config, traced_facts());
  return trace_step(*objective, {.computation = computation_of(config.train), .rows = rows, .ranks = ranks});
}

/// What `more` computes beyond `less` for a row.
double added(const TrainConfig& more, const TrainConfig& less) {
  return trace(more, 1).forward_flops - trace(less, 1).forward_flops;
}

/// q, k, v, out and an MLP of ratio 4 at every token; scores and their products with every other of `seen`.
double block_flops(double tokens, double seen, double width) {
  return 24 * tokens * width * width + 4 * tokens * seen * width;
}

TEST(StepTrace, CountsABlockOfEachTowerAsItsFormulaDoes) {
  auto config = small_pair(), less = config;
  std::get<VitConfig>(less.model.image).depth = 2;
  EXPECT_DOUBLE_EQ(added(config, less), block_flops(37, 37, 32));
  less = config;
  std::get<CausalTransformerConfig>(less.model.text).depth = 1;
  EXPECT_DOUBLE_EQ(added(config, less), block_flops(12, 12, 24));
  BertConfig bert{.context = 12, .width = 24, .depth = 2, .heads = 2, .vocabulary = 100, .positions = 12};
  config.model.text = bert;
  bert.depth = 1;
  less.model.text = bert;
  EXPECT_DOUBLE_EQ(added(config, less), block_flops(12, 12, 24));

  SwinConfig swin{.image_size = 32, .patch_size = 2, .width = 8, .window = 4, .depths = {2, 3}, .heads = {1, 2}};
  auto fewer = swin;
  fewer.depths = {2, 1};
  EXPECT_DOUBLE_EQ(added(classifier(swin), classifier(fewer)), 2 * block_flops(64, 16, 16));

  ResNetConfig resnet{.image_size = 64, .width = 8, .depths = {3, 1, 1, 1}};
  auto shorter = resnet;
  shorter.depths = {1, 1, 1, 1};
  EXPECT_DOUBLE_EQ(added(classifier(resnet), classifier(shorter)), 2 * 2 * 16 * 16 * (32 * 8 + 9 * 8 * 8 + 8 * 32));
}

TEST(StepTrace, BackwardIsTwiceTheForwardAndCheckpointingRunsTheBlocksAgain) {
  auto config = small_pair();
  config.train.attention = "plain";
  const auto plain = trace(config, 2);
  // But for the gradient of pixels, which nobody asks for: the patches' product has one gradient only.
  const double patches = 2 * 2.0 * 36 * 192 * 32;
  EXPECT_DOUBLE_EQ(plain.backward_flops, 2 * plain.forward_flops - patches);
  config.train.activation_checkpointing = true;
  const auto again = trace(config, 2);
  EXPECT_DOUBLE_EQ(again.forward_flops, plain.forward_flops);
  const double blocks = 2 * (3 * block_flops(37, 37, 32) + 2 * block_flops(12, 12, 24));
  EXPECT_DOUBLE_EQ(again.backward_flops, plain.backward_flops + blocks);
  EXPECT_LT(again.kept, plain.kept / 3);
  EXPECT_LT(again.peak, plain.peak);
}

/// Bytes that the CPU's allocator has given this thread's tensors.
struct CpuMeter : c10::MemoryReportingInfoBase {
  std::int64_t live = 0, peak = 0;
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, at::Device) override {
    live += bytes;
    peak = std::max(peak, live);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

Batch real_batch(const BatchSpec& spec, std::int64_t rows) {
  Batch batch;
  batch.images = at::ones({rows, spec.views, spec.image_size, spec.image_size, 3}, at::kByte);
  // As long as the context: the largest id, which ends a text, stands last.
  if (spec.text) batch.tokens = at::arange(1, spec.form.context + 1).expand({rows, spec.captions, -1}).contiguous();
  batch.labels = at::zeros({rows}, at::kLong);
  return batch;
}

/// Kernels take room for each thread; a trace counts that of one.
struct OneThread {
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
  const int before = at::get_num_threads();
};

/// The same step with values.
StepTrace real_step(const TrainConfig& config, std::int64_t rows) {
  const OneThread one_thread;
  const auto computation = computation_of(config.train);
  const auto objective =
      make_objective(config.objective, config.model, traced_facts(), {.parameters = computation.parameters});
  ThreadGroup alone(1);
  StepScope scope({}, 1, computation, alone.comm(0), nullptr);
  const Batch batch = real_batch(objective->needs(), rows);
  for (const auto& [name, parameter] : objective->module().parameters())
    parameter.mutable_grad() = at::zeros_like(parameter);
  const auto meter = std::make_shared<CpuMeter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  StepTrace result;
  const auto encoded = objective->encode(batch, scope);
  result.kept = meter->live;
  std::vector<at::Tensor> gradients;
  for (const auto& output : encoded) gradients.push_back(at::ones_like(output));
  scope.backward(encoded, gradients, Last::kYes);
  result.peak = meter->peak;
  return result;
}

void expect_as_real(const TrainConfig& config, const std::string& what, double kept = 0.02, double peak = 0.06) {
  SCOPED_TRACE(what);
  constexpr std::int64_t kRows = 6;
  const auto shapes = trace(config, kRows), real = real_step(config, kRows);
  const auto near = [](std::int64_t a, std::int64_t b, double share) {
    EXPECT_NEAR(static_cast<double>(a), static_cast<double>(b), share * static_cast<double>(b));
  };
  near(shapes.kept, real.kept, kept);
  near(shapes.peak, real.peak, peak);
}

TEST(StepTrace, HoldsWhatARealStepHolds) {
  auto config = small_pair();
  for (const std::string attention : {"plain", "fused"}) {
    for (const std::string precision : {"fp32", "bf16"}) {
      for (const bool checkpointing : {false, true}) {
        config.train.attention = attention;
        config.train.precision = precision;
        config.train.activation_checkpointing = checkpointing;
        expect_as_real(config, attention + " " + precision + (checkpointing ? " checkpointing" : ""));
      }
    }
  }
}

TEST(StepTrace, HoldsWhatARealStepOfEachTowerHolds) {
  auto config = small_pair();
  config.model.image = SwinConfig{
      .image_size = 32, .patch_size = 2, .width = 16, .window = 4, .depths = {2, 2}, .heads = {1, 2}, .drop_path = 0.2};
  config.model.text =
      BertConfig{.context = 12, .width = 24, .depth = 2, .heads = 2, .vocabulary = 100, .positions = 12};
  expect_as_real(config, "swin and bert");
  config.train.precision = "bf16";
  expect_as_real(config, "swin and bert, bf16", 0.1, 0.1);  // the trace counts 9 % more
  config = small_pair();
  std::get<VitConfig>(config.model.image).patch_dropout = 0.5;
  config.objective = SupConConfig{};
  expect_as_real(config, "two views, patch dropout");
  config = classifier(ResNetConfig{.image_size = 64, .width = 16, .depths = {1, 2, 1, 1}});
  // Convolutions take room of their own in backward, which shapes do not show: 16 % of the peak here.
  expect_as_real(config, "resnet", 0.02, 0.17);
  config.model.image = ResNetConfig{.image_size = 64, .width = 16, .depths = {1, 1, 1, 1}, .pool = "attention"};
  expect_as_real(config, "resnet, attention pool", 0.02, 0.07);
}

TEST(StepTrace, RowsAddUpAndFrozenTowersKeepNothing) {
  const auto config = small_pair();
  const auto one = trace(config, 8), two = trace(config, 16), three = trace(config, 24);
  EXPECT_EQ(three.kept - two.kept, two.kept - one.kept);
  EXPECT_DOUBLE_EQ(two.forward_flops, 2 * one.forward_flops);
  auto frozen = config;
  frozen.optimizer.freeze = {"visual.*"};
  auto text_alone = trace(frozen, 8);
  EXPECT_LT(text_alone.kept, one.kept / 2);
  EXPECT_LT(text_alone.backward_flops, one.backward_flops / 2);
  EXPECT_DOUBLE_EQ(text_alone.forward_flops, one.forward_flops);
}

TEST(StepTrace, StatisticsOfSeveralRanksHoldMore) {
  const auto config = classifier(ResNetConfig{.image_size = 64, .width = 16, .depths = {1, 1, 1, 1}});
  EXPECT_GT(trace(config, 4, 2).kept, trace(config, 4, 1).kept);
}

}  // namespace
}  // namespace triptych

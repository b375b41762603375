// UniCL and CLIP through the real GradientSync: every number of ranks and every micro-batch against the plain formula
// over the whole batch.
#include "core/objective/contrastive.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/model/image_preprocess.h"
#include "core/module/keyed_random.h"
#include "tests/losses/plain_formulas.h"
#include "tests/objective/tiny.h"

namespace triptych {
namespace {

/// The whole batch in one piece: towers, plain formula, one backward.
StepResult reference(const ModelConfig& config, const Batch& batch, const at::Tensor& labels_B,
                     const at::Tensor& mixed_target = {}) {
  DualEncoder model(config, Initializer(kSeed));
  model.to(at::kCPU, at::kDouble);
  const at::Tensor pixels = normalise_images(batch.images.select(1, 0), tiny_facts(), at::kDouble);
  const at::Tensor image = unit(model.visual().project(model.visual().features(pixels, {})));
  const at::Tensor text = unit(model.text().forward(batch.tokens.flatten(0, 1)));
  const at::Tensor loss = plain_unicl(image, text, labels_B, model.logit_scale().exp(), true, true, mixed_target);
  loss.backward();
  return {loss.item<double>(), gradients_of(model), 0};
}

void expect_equal(const StepResult& got, const StepResult& expected) {
  EXPECT_NEAR(got.loss, expected.loss, kClose);
  EXPECT_LT(difference(got.gradients, expected.gradients), kClose);
  EXPECT_EQ(got.spread, 0);
}

TEST(Contrastive, UniclOnEveryNumberOfRanksAndMicroBatch) {
  const Batch batch = global_batch();
  const StepResult expected = reference(tiny_model(), batch, batch.labels);
  for (const int size : {1, 2, 3, 4}) {
    const std::int64_t b = kRows / size;
    for (const std::int64_t micro_batch : {b, b / 3, std::int64_t{1}}) {
      SCOPED_TRACE(testing::Message() << size << " ranks, micro-batch " << micro_batch);
      expect_equal(step_on_ranks(size, micro_batch, UniclConfig{}, tiny_model(), batch), expected);
    }
  }
}

TEST(Contrastive, RingOnEveryNumberOfRanks) {
  const Batch batch = global_batch();
  const at::Tensor none = at::full({kRows}, kNoLabel, at::kLong);
  const StepResult unicl = reference(tiny_model(), batch, batch.labels), clip = reference(tiny_model(), batch, none);
  const UniclConfig ring{.exchange = "ring"};
  for (const int size : {1, 2, 3, 4}) {
    SCOPED_TRACE(testing::Message() << size << " ranks");
    expect_equal(step_on_ranks(size, 1, ring, tiny_model(), batch), unicl);
    expect_equal(step_on_ranks(size, 1, ClipConfig{.exchange = "ring"}, tiny_model(), batch), clip);
  }
  // That the ring ran shows in the last bits: its sums begin with another block on each rank.
  const auto gathered = step_on_ranks(3, 2, UniclConfig{}, tiny_model(), batch);
  EXPECT_GT(difference(step_on_ranks(3, 2, ring, tiny_model(), batch).gradients, gathered.gradients), 0);
}

TEST(Contrastive, SigLipOnEveryNumberOfRanksAndMicroBatch) {
  const Batch batch = global_batch();
  const SigLipConfig config{.init_bias = -2};
  DualEncoder model(tiny_model(), Initializer(kSeed), config.init_bias);
  model.to(at::kCPU, at::kDouble);
  const at::Tensor pixels = normalise_images(batch.images.select(1, 0), tiny_facts(), at::kDouble);
  const at::Tensor image = unit(model.visual().project(model.visual().features(pixels, {})));
  const at::Tensor text = unit(model.text().forward(batch.tokens.flatten(0, 1)));
  const at::Tensor logits = image.matmul(text.t()) * model.logit_scale().exp() + model.logit_bias();
  const at::Tensor signs = 2 * at::eye(kRows, at::kDouble) - 1;
  const at::Tensor loss = -at::log_sigmoid(signs * logits).sum() / kRows;
  loss.backward();
  const StepResult expected{loss.item<double>(), gradients_of(model), 0};
  for (const int size : {1, 2, 3, 4}) {
    for (const std::int64_t micro_batch : {kRows / size, std::int64_t{1}}) {
      SCOPED_TRACE(testing::Message() << size << " ranks, micro-batch " << micro_batch);
      expect_equal(step_on_ranks(size, micro_batch, config, tiny_model(), batch), expected);
    }
  }
}

// With drop path the towers draw; a micro-batch that is encoded twice must draw the same twice.
TEST(Contrastive, CachedStepsReplayTheirDraws) {
  const Batch batch = global_batch();
  const auto config = tiny_model(0.5);
  const std::int64_t micro_batch = 3;
  DualEncoder model(config, Initializer(kSeed));
  model.to(at::kCPU, at::kDouble);
  std::vector<at::Tensor> images;
  for (std::int64_t first = 0; first < kRows; first += micro_batch) {
    const auto position = static_cast<std::uint64_t>(batch.first_position + first);
    const auto draws = keyed_generator(random_key(kSeed, Purpose::kDropPath, {5, position}), at::kCPU);
    const at::Tensor some = batch.images.select(1, 0).narrow(0, first, micro_batch);
    const at::Tensor pixels = normalise_images(some, tiny_facts(), at::kDouble);
    images.push_back(unit(model.visual().project(model.visual().features(pixels, {.draws = draws}))));
  }
  const at::Tensor text = unit(model.text().forward(batch.tokens.flatten(0, 1)));
  const at::Tensor loss =
      plain_unicl(at::cat(images), text, batch.labels, model.logit_scale().exp(), true, true, at::Tensor());
  loss.backward();
  const StepResult expected{loss.item<double>(), gradients_of(model), 0};
  for (const int size : {1, 2}) {
    SCOPED_TRACE(testing::Message() << size << " ranks");
    const auto got = step_on_ranks(size, micro_batch, UniclConfig{}, config, batch);
    expect_equal(got, expected);
    EXPECT_LT(difference(got.gradients.at("logit_scale"), model.logit_scale().grad()), kClose);
  }
  EXPECT_GT(difference(step_on_ranks(2, 2, UniclConfig{}, config, batch).gradients, expected.gradients), 1e-4)
      << "other draws, or this test shows nothing";
}

TEST(Contrastive, AllCaptionsArePositivesOnEveryNumberOfRanks) {
  const Batch batch = global_batch(false, 3);
  const at::Tensor none = at::full({kRows}, kNoLabel, at::kLong);
  const StepResult unicl = reference(tiny_model(), batch, batch.labels), clip = reference(tiny_model(), batch, none);
  EXPECT_GT(std::abs(unicl.loss - clip.loss), 1e-3);
  for (const int size : {1, 2, 3, 4}) {
    for (const std::int64_t micro_batch : {kRows / size, std::int64_t{1}}) {
      SCOPED_TRACE(testing::Message() << size << " ranks, micro-batch " << micro_batch);
      expect_equal(step_on_ranks(size, micro_batch, UniclConfig{}, tiny_model(), batch), unicl);
      expect_equal(step_on_ranks(size, micro_batch, ClipConfig{}, tiny_model(), batch), clip);
    }
  }
}

TEST(Contrastive, CaptionsReachTheLoaderAndOthersRefuseThem) {
  auto facts = tiny_facts();
  facts.captions = 3;
  EXPECT_EQ(make_objective(UniclConfig{}, tiny_model(), facts, in_fp64())->needs().captions, 3);
  EXPECT_EQ(make_objective(ClipConfig{}, tiny_model(), facts, in_fp64())->needs().captions, 3);
  for (const ObjectiveConfig& config : {ObjectiveConfig(SupConConfig{}), ObjectiveConfig(CrossEntropyConfig{})}) {
    try {
      make_objective(config, tiny_model(), facts, in_fp64());
      ADD_FAILURE() << "accepted";
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("data.captions.all_positive: is 3"), std::string::npos) << error.what();
    }
  }
}

TEST(Contrastive, UniclWithMixedRows) {
  Batch batch = global_batch(true);
  batch.other_labels = batch.labels.flip(0);
  batch.mix_weights = (draw({31}, {kRows}).abs() / 3).clamp(0.1, 0.9).to(at::kFloat);
  const at::Tensor target = plain_mixed_target(batch.labels, batch.other_labels, batch.mix_weights.to(at::kDouble));
  const StepResult expected = reference(tiny_model(), batch, batch.labels, target);
  for (const int size : {1, 2, 3}) expect_equal(step_on_ranks(size, 2, UniclConfig{}, tiny_model(), batch), expected);
  EXPECT_GT(std::abs(expected.loss - reference(tiny_model(), batch, batch.labels).loss), 1e-3);
}

TEST(Contrastive, FlatSyncGivesTheSameBits) {
  const Batch batch = global_batch();
  const StepResult reduced = step_on_ranks(3, 2, UniclConfig{}, tiny_model(), batch);
  const StepResult flat = step_on_ranks(3, 2, UniclConfig{}, tiny_model(), batch, SyncForm::kFlat);
  EXPECT_EQ(difference(reduced.gradients, flat.gradients), 0);
}

TEST(Contrastive, ClipIgnoresLabels) {
  const Batch batch = global_batch();
  const at::Tensor none = at::full({kRows}, kNoLabel, at::kLong);
  const StepResult expected = reference(tiny_model(), batch, none);
  for (const int size : {1, 2, 3}) expect_equal(step_on_ranks(size, 2, ClipConfig{}, tiny_model(), batch), expected);
  EXPECT_GT(std::abs(expected.loss - reference(tiny_model(), batch, batch.labels).loss), 1e-3);
}

TEST(Contrastive, DirectionsReachTheLoss) {
  const Batch batch = global_batch();
  const double both = step_on_ranks(1, kRows, UniclConfig{}, tiny_model(), batch).loss;
  const double rows_only = step_on_ranks(1, kRows, UniclConfig{.directions = "rows"}, tiny_model(), batch).loss;
  const double columns_only = step_on_ranks(1, kRows, UniclConfig{.directions = "columns"}, tiny_model(), batch).loss;
  EXPECT_NEAR((rows_only + columns_only) / 2, both, 1e-12);
  EXPECT_GT(std::abs(rows_only - columns_only), 1e-4);
}

TEST(Contrastive, DropPathIsReplayedBitForBit) {
  const ModelConfig model = tiny_model(0.6);
  const Batch batch = global_batch();
  // Kept graph (one backward over two micro-batches' forwards) against replay, on one rank.
  run_ranks(1, [&](Collectives& comm) {
    const auto parts = cut(batch, kRows / 2);
    StepScope draws({.step = 5, .samples_seen = 1000, .epoch = 0}, kSeed, kFp64, comm, nullptr);
    DualEncoder towers(model, Initializer(kSeed));
    towers.to(at::kCPU, at::kDouble);
    std::vector<at::Tensor> images, texts;
    for (const auto& part : parts) {
      const auto generator = [&] { return draws.forward(Purpose::kDropPath, part.first_position, at::kCPU); };
      const at::Tensor pixels = normalise_images(part.images.select(1, 0), tiny_facts(), at::kDouble);
      images.push_back(unit(towers.visual().project(towers.visual().features(pixels, generator()))));
      texts.push_back(unit(towers.text().forward(part.tokens.select(1, 0))));
      EXPECT_TRUE(
          at::equal(towers.visual().features(pixels, generator()), towers.visual().features(pixels, generator())));
    }
    plain_unicl(at::cat(images), at::cat(texts), batch.labels, towers.logit_scale().exp()).backward();
    const StepResult replayed = step_on_ranks(1, kRows / 2, UniclConfig{}, model, batch);
    EXPECT_LT(difference(replayed.gradients, gradients_of(towers)), kClose);
    EXPECT_GT(difference(replayed.gradients, step_on_ranks(1, kRows / 2, UniclConfig{}, tiny_model(), batch).gradients),
              1e-4);
    // The same draws on another number of ranks at equal micro-batch.
    EXPECT_LT(difference(replayed.gradients, step_on_ranks(2, kRows / 2, UniclConfig{}, model, batch).gradients),
              kClose);
  });
}

TEST(Contrastive, StepLeavesTheDefaultGeneratorAlone) {
  const at::Tensor before = at::detail::getDefaultCPUGenerator().get_state().clone();
  step_on_ranks(2, 2, UniclConfig{}, tiny_model(0.5), global_batch());
  EXPECT_TRUE(at::equal(before, at::detail::getDefaultCPUGenerator().get_state()));
}

TEST(Contrastive, ClampKeepsTheScaleAfterAnUpdate) {
  run_ranks(1, [](Collectives& comm) {
    StepScope scope({}, kSeed, kFp64, comm, nullptr);
    for (const bool clamp : {true, false}) {
      const auto objective = make_objective(UniclConfig{.clamp_scale = clamp}, tiny_model(), tiny_facts(), in_fp64());
      at::Tensor scale;
      for (const auto& [name, tensor] : objective->module().parameters()) {
        if (name == "logit_scale") scale = tensor;
      }
      for (const auto& [value, clamped] :
           {std::pair(7.0, std::log(100.0)), std::pair(-1.0, 0.0), std::pair(2.0, 2.0)}) {
        scale.detach().fill_(value);
        objective->after_update(scope);
        EXPECT_NEAR(scale.item<double>(), clamp ? clamped : value, 1e-12);
      }
    }
  });
}

TEST(Contrastive, EncodersEvaluateAndLeaveTheModeAlone) {
  const Batch batch = global_batch();
  for (const bool training : {true, false}) {
    const auto objective = make_objective(UniclConfig{}, tiny_model(0.5), tiny_facts(), in_fp64());
    objective->module().set_training(training);
    const Encoders encoders = objective->encoders();
    const at::Tensor image = encoders.image(batch.images.select(1, 0)), text = encoders.text(batch.tokens.select(1, 0));
    EXPECT_FALSE(image.requires_grad());
    EXPECT_TRUE(at::equal(image, encoders.image(batch.images.select(1, 0))));  // no drop path
    EXPECT_LT(difference(image.norm(2, -1), at::ones({kRows}, at::kDouble)), 1e-12);
    EXPECT_LT(difference(text.norm(2, -1), at::ones({kRows}, at::kDouble)), 1e-12);
    EXPECT_EQ(image.sizes(), text.sizes());
    const at::Tensor features = encoders.features(batch.images.select(1, 0));
    EXPECT_FALSE(features.requires_grad());
    for (const auto& [name, tensor] : objective->module().parameters()) {
      if (name != "visual.proj") continue;
      EXPECT_LT(difference(unit(features.mm(tensor.detach())), image), 1e-12);
    }
    EXPECT_FALSE(encoders.classify);
    EXPECT_NEAR(encoders.scale->item<double>(), 1 / 0.07, 1e-5);
    EXPECT_EQ(objective->module().training(), training);
    EXPECT_TRUE(c10::GradMode::is_enabled());
  }
}

TEST(Contrastive, AsksForTheTowersData) {
  const auto objective = make_objective(UniclConfig{}, tiny_model(), tiny_facts(), in_fp64());
  const BatchSpec needs = objective->needs();
  EXPECT_EQ(needs.image_size, 8);
  EXPECT_EQ(needs.form.context, 7);
  EXPECT_EQ(needs.views, 1);
  EXPECT_TRUE(needs.text);
  EXPECT_FALSE(needs.labels);
}

TEST(Contrastive, AutocastTrainsNearFullPrecision) {
  run_ranks(1, [](Collectives& comm) {
    const Batch batch = global_batch();
    const auto run = [&](at::ScalarType compute) {
      const auto objective = make_objective(UniclConfig{}, tiny_model(), tiny_facts(), {.seed = kSeed});
      StepScope scope({}, kSeed, {at::kFloat, compute}, comm, nullptr);
      const auto parts = cut(batch, kRows / 2);
      const LossReport report = objective->accumulate(parts, scope);
      EXPECT_EQ(report.total.scalar_type(), at::kFloat);
      for (const auto& [name, parameter] : objective->module().parameters()) {
        EXPECT_EQ(parameter.grad().scalar_type(), at::kFloat) << name;
      }
      return report.total.item<double>();
    };
    const double full = run(at::kFloat), half = run(at::kBFloat16);
    EXPECT_NE(full, half);
    EXPECT_NEAR(full, half, 0.02);
  });
}

}  // namespace
}  // namespace triptych

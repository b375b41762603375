// Steps with every kind of tower: ranks, micro-batches and recomputation against the formula on the whole batch.
#include <gtest/gtest.h>

#include "core/model/image_preprocess.h"
#include "core/objective/contrastive.h"
#include "tests/losses/plain_formulas.h"
#include "tests/objective/tiny.h"

namespace triptych {
namespace {

ResNetConfig tiny_resnet(const std::string& pool = "average") {
  ResNetConfig config;
  config.image_size = 32;
  config.width = 2;
  config.depths = {1, 1, 1, 1};
  config.pool = pool;
  config.pool_heads = 4;
  return config;
}

SwinConfig tiny_swin(double drop_path = 0) {
  SwinConfig config;
  config.image_size = 8;
  config.patch_size = 1;
  config.width = 4;
  config.window = 4;
  config.depths = {2, 1};
  config.heads = {1, 2};
  config.drop_path = drop_path;
  return config;
}

BertConfig tiny_bert(double dropout = 0) {
  BertConfig config;
  config.context = 7;
  config.width = 8;
  config.depth = 2;
  config.heads = 2;
  config.vocabulary = 40;
  config.positions = 7;
  config.dropout = dropout;
  return config;
}

ModelConfig with(ImageTowerConfig image) {
  ModelConfig model = tiny_model();
  model.image = std::move(image);
  return model;
}

Batch batch_of(std::int64_t image_size, bool labelled = false) {
  Batch batch = global_batch(labelled);
  batch.images = (draw({77}, {kRows, 1, image_size, image_size, 3}) * 60 + 128).clamp(0, 255).to(at::kByte);
  return batch;
}

at::Tensor pixels_of(const Batch& batch, const at::Tensor& rows) {
  return normalise_images(batch.images.select(1, 0).index_select(0, rows), tiny_facts(), at::kDouble);
}

/// UniCL on the whole batch; images go through in `groups`, [groups, rows], whose statistics batch norms share.
StepResult plain(const ModelConfig& config, const Batch& batch, const std::vector<at::Tensor>& groups) {
  DualEncoder model(config, Initializer(kSeed), {}, tiny_facts().num_labels);
  model.to(at::kCPU, at::kDouble);
  std::vector<at::Tensor> images;
  for (const auto& rows : groups)
    images.push_back(unit(model.visual().project(model.visual().features(pixels_of(batch, rows), {}))));
  const at::Tensor image = at::cat(images).index_select(0, at::cat(groups).argsort());
  const bool by_label = std::holds_alternative<LabelEmbeddingConfig>(config.text);
  const at::Tensor text = unit(model.text().forward(by_label ? batch.labels.unsqueeze(1) : batch.tokens.flatten(0, 1)));
  const at::Tensor loss = plain_unicl(image, text, batch.labels, model.logit_scale().exp(), true, true, at::Tensor());
  loss.backward();
  return {loss.item<double>(), gradients_of(model), 0};
}

std::vector<at::Tensor> whole() {
  return {at::arange(kRows, at::kLong)};
}

void expect_step(const StepResult& got, const StepResult& expected, double bound = kClose) {
  EXPECT_NEAR(got.loss, expected.loss, bound);
  EXPECT_LT(difference(got.gradients, expected.gradients), bound * 10);
  EXPECT_EQ(got.spread, 0);
}

TEST(TowersStep, SwinAndBertOnEveryNumberOfRanks) {
  ModelConfig config = with(tiny_swin());
  config.text = tiny_bert();
  const Batch batch = batch_of(8);
  const StepResult expected = plain(config, batch, whole());
  for (const int size : {1, 2, 3, 4}) {
    SCOPED_TRACE(testing::Message() << size << " ranks");
    expect_step(step_on_ranks(size, 1, UniclConfig{}, config, batch), expected);
    expect_step(step_on_ranks(size, kRows / size, UniclConfig{}, config, batch), expected);
  }
}

TEST(TowersStep, BatchNormsShareTheMicroBatchOfAllRanks) {
  for (const char* pool : {"average", "attention"}) {
    SCOPED_TRACE(pool);
    const ModelConfig config = with(tiny_resnet(pool));
    const Batch batch = batch_of(32);
    const StepResult expected = plain(config, batch, whole());
    for (const int size : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << size << " ranks");
      // Normalising 12 values of a 1 x 1 grid makes gradients large: the bound follows.
      expect_step(step_on_ranks(size, kRows / size, UniclConfig{}, config, batch), expected, 1e-8);
    }
    // Two ranks, two micro-batches each: rows 0-2 and 6-8 are normalised together, then 3-5 and 9-11.
    const auto rows = [](std::int64_t a, std::int64_t b) {
      return at::cat({at::arange(a, a + 3, at::kLong), at::arange(b, b + 3, at::kLong)});
    };
    const StepResult cached = plain(config, batch, {rows(0, 6), rows(3, 9)});
    expect_step(step_on_ranks(2, 3, UniclConfig{}, config, batch), cached, 1e-8);
    EXPECT_GT(std::abs(cached.loss - expected.loss), 1e-6);
  }
}

TEST(TowersStep, FrozenBatchNormsDoNotDependOnTheMicroBatch) {
  ResNetConfig resnet = tiny_resnet();
  resnet.batch_norm = "frozen";
  const ModelConfig config = with(resnet);
  const Batch batch = batch_of(32);
  const StepResult expected = plain(config, batch, whole());
  for (const int size : {1, 2}) expect_step(step_on_ranks(size, 2, UniclConfig{}, config, batch), expected);
}

TEST(TowersStep, LabelEmbeddingIsAColumnALabel) {
  ModelConfig config = tiny_model();
  config.text = LabelEmbeddingConfig{};
  const Batch batch = batch_of(8, /*labelled=*/true);
  const StepResult expected = plain(config, batch, whole());
  for (const int size : {1, 2, 3}) expect_step(step_on_ranks(size, 2, UniclConfig{}, config, batch), expected);
  const auto objective = make_objective(UniclConfig{}, config, tiny_facts(), in_fp64());
  EXPECT_FALSE(objective->needs().text);
  EXPECT_TRUE(objective->needs().labels);
  const auto encoders = objective->encoders();
  EXPECT_FALSE(encoders.text);
  EXPECT_EQ(encoders.classify(batch.images.select(1, 0)).sizes(), (std::vector<std::int64_t>{kRows, 6}));
}

/// Drop path, dropout, patch dropout and batch norm at once: replayed for gradient caching, and again in backward.
TEST(TowersStep, RecomputationGivesTheSameBits) {
  Computation recompute = kFp64;
  recompute.recompute = true;
  const auto step = [&](const ModelConfig& config, const Batch& batch, int size, const Computation& computation) {
    return step_on_ranks(size, 3, UniclConfig{}, config, batch, SyncForm::kReducer, computation);
  };
  VitConfig vit = std::get<VitConfig>(tiny_model(0.5).image);
  vit.patch_dropout = 0.5;
  std::vector<std::pair<ModelConfig, Batch>> cases = {
      {with(vit), batch_of(8)}, {with(tiny_swin(0.5)), batch_of(8)}, {with(tiny_resnet()), batch_of(32)}};
  cases[1].first.text = tiny_bert(0.3);
  for (const auto& [config, batch] : cases) {
    for (const int size : {1, 2}) {
      const StepResult kept = step(config, batch, size, kFp64), again = step(config, batch, size, recompute);
      EXPECT_EQ(kept.loss, again.loss);
      EXPECT_EQ(difference(kept.gradients, again.gradients), 0);
    }
  }
}

/// Dropout of the text tower: the formula with the draws of each micro-batch.
TEST(TowersStep, CachedStepsReplayDropoutOfTheTextTower) {
  ModelConfig config = tiny_model();
  config.text = tiny_bert(0.3);
  const Batch batch = batch_of(8);
  DualEncoder model(config, Initializer(kSeed));
  model.to(at::kCPU, at::kDouble);
  std::vector<at::Tensor> texts;
  for (std::int64_t first = 0; first < kRows; first += 3) {
    const auto position = static_cast<std::uint64_t>(batch.first_position + first);
    const auto draws = keyed_generator(random_key(kSeed, Purpose::kDropout, {5, position}), at::kCPU);
    texts.push_back(unit(model.text().forward(batch.tokens.flatten(0, 1).narrow(0, first, 3), {.draws = draws})));
  }
  const at::Tensor image = unit(model.visual().project(model.visual().features(pixels_of(batch, whole()[0]), {})));
  const at::Tensor loss =
      plain_unicl(image, at::cat(texts), batch.labels, model.logit_scale().exp(), true, true, at::Tensor());
  loss.backward();
  for (const int size : {1, 2})
    expect_step(step_on_ranks(size, 3, UniclConfig{}, config, batch), {loss.item<double>(), gradients_of(model), 0});
}

}  // namespace
}  // namespace triptych

// The supervised baselines, cross-entropy and SupCon: ranks and micro-batches against the whole batch in one piece.
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/model/image_preprocess.h"
#include "core/model/model_factory.h"
#include "core/objective/cross_entropy.h"
#include "core/objective/supcon.h"
#include "tests/losses/plain_formulas.h"
#include "tests/objective/tiny.h"

namespace triptych {
namespace {

TEST(CrossEntropyObjective, EveryNumberOfRanksAndMicroBatch) {
  const Batch batch = global_batch(/*labelled=*/true);
  Classifier model(make_image_tower(tiny_model(), std::nullopt, Initializer(kSeed, "visual")), 6, Initializer(kSeed));
  model.to(at::kCPU, at::kDouble);
  const at::Tensor pixels = normalise_images(batch.images.select(1, 0), tiny_facts(), at::kDouble);
  const at::Tensor logits = model.logits(model.visual().features(pixels, {}));
  const at::Tensor loss = -logits.log_softmax(1).gather(1, batch.labels.unsqueeze(1)).mean();
  loss.backward();
  for (const int size : {1, 2, 3, 4}) {
    for (const std::int64_t micro_batch : {kRows / size, std::int64_t{1}}) {
      const StepResult got = step_on_ranks(size, micro_batch, CrossEntropyConfig{}, tiny_model(), batch);
      EXPECT_NEAR(got.loss, loss.item<double>(), kClose);
      EXPECT_LT(difference(got.gradients, gradients_of(model)), kClose);
      EXPECT_EQ(got.spread, 0);
    }
  }
  EXPECT_NE(step_on_ranks(1, kRows, CrossEntropyConfig{.label_smoothing = 0.1}, tiny_model(), batch).loss,
            loss.item<double>());
}

TEST(CrossEntropyObjective, ClassifiesWithItsOwnHead) {
  const Batch batch = global_batch(true);
  const auto objective = make_objective(CrossEntropyConfig{}, tiny_model(0.5), tiny_facts(), in_fp64());
  const Encoders encoders = objective->encoders();
  const at::Tensor logits = encoders.classify(batch.images.select(1, 0)),
                   image = encoders.image(batch.images.select(1, 0));
  EXPECT_EQ(logits.sizes(), (std::vector<std::int64_t>{kRows, 6}));
  EXPECT_EQ(image.sizes(), (std::vector<std::int64_t>{kRows, 12}));
  EXPECT_LT(difference(image.norm(2, -1), at::ones({kRows}, at::kDouble)), 1e-12);
  const at::Tensor features = encoders.features(batch.images.select(1, 0));
  EXPECT_LT(difference(unit(features), image), 1e-12);
  EXPECT_GT(difference(features, image), 1e-3) << "features keep their length";
  EXPECT_FALSE(encoders.text);
  EXPECT_TRUE(objective->module().training());
}

TEST(SupConObjective, EveryNumberOfRanksAndMicroBatch) {
  const Batch batch = global_batch(true);
  ImageModel model(make_image_tower(tiny_model(), 6, Initializer(kSeed, "visual")));
  model.to(at::kCPU, at::kDouble);
  const at::Tensor pixels = normalise_images(batch.images.flatten(0, 1), tiny_facts(), at::kDouble);
  const at::Tensor view_nd = unit(model.visual().project(model.visual().features(pixels, {})));
  const at::Tensor loss = plain_supcon(view_nd.view({kRows, 2, 6}), batch.labels, 0.1);
  loss.backward();
  for (const int size : {1, 2, 3, 4}) {
    for (const std::int64_t micro_batch : {kRows / size, std::int64_t{1}}) {
      const StepResult got = step_on_ranks(size, micro_batch, SupConConfig{}, tiny_model(), batch);
      EXPECT_NEAR(got.loss, loss.item<double>(), kClose);
      EXPECT_LT(difference(got.gradients, gradients_of(model)), kClose);
      EXPECT_EQ(got.spread, 0);
    }
  }
}

TEST(SupConObjective, AsksForTwoLabelledViews) {
  const BatchSpec needs = make_objective(SupConConfig{}, tiny_model(), tiny_facts(), in_fp64())->needs();
  EXPECT_EQ(needs.views, 2);
  EXPECT_TRUE(needs.labels);
  EXPECT_FALSE(needs.text);
}

TEST(Baselines, RefuseACorpusWithoutLabels) {
  CorpusFacts facts = tiny_facts();
  facts.num_labels = 0;
  EXPECT_THROW(make_objective(CrossEntropyConfig{}, tiny_model(), facts, in_fp64()), ConfigError);
  EXPECT_THROW(make_objective(SupConConfig{}, tiny_model(), facts, in_fp64()), ConfigError);
  EXPECT_NO_THROW(make_objective(UniclConfig{}, tiny_model(), facts, in_fp64()));
}

}  // namespace
}  // namespace triptych

// The first step of OpenCLIP's training loop: features, loss and every gradient from given weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/objective/objective_table.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

ModelConfig golden_model(const std::filesystem::path& weights) {
  VitConfig image;
  image.image_size = 32;
  image.patch_size = 8;
  image.width = 56;
  image.depth = 2;
  image.heads = 4;
  CausalTransformerConfig text;
  text.context = 16;
  text.width = 48;
  text.depth = 2;
  text.heads = 4;
  text.vocabulary = 200;
  ModelConfig model;
  model.image = image;
  model.text = text;
  model.embed_dim = 32;
  model.init_from.whole = weights;
  return model;
}

/// The golden file's init.* as a file of weights.
std::filesystem::path write_weights(const Golden& golden, const TempDir& folder) {
  std::vector<NamedTensor> weights;
  for (const auto& [name, stored] : golden.tensors()) {
    if (name.starts_with("init.")) weights.push_back({name.substr(5), golden[name]});
  }
  save_safetensors(folder / "init.safetensors", weights);
  return folder / "init.safetensors";
}

Batch first_batch(const Golden& golden) {
  Batch batch;
  batch.images = golden["in.images"][0].permute({0, 2, 3, 1}).unsqueeze(1);  // [b, views, h, w, 3], normalised
  batch.tokens = golden["in.tokens"][0].unsqueeze(1);
  batch.labels = at::full({8}, kNoLabel, at::kLong);
  return batch;
}

double noise(const nlohmann::json& facts, const std::string& name) {
  return facts["fp32_noise"]["values"].value(name, 0.0);
}

TEST(OpenClip, FirstStepHasTheGoldenLossAndGradients) {
  const Golden golden("openclip_train");
  const nlohmann::json facts = nlohmann::json::parse(std::ifstream(source_path("tests/golden/openclip_train.json")));
  const TempDir folder;
  const auto weights = write_weights(golden, folder);
  const Batch batch = first_batch(golden);
  for (const std::size_t pieces : {1, 4}) {
    run_ranks(1, [&](Collectives& comm) {
      const auto objective = make_objective(ClipConfig{}, golden_model(weights), CorpusFacts{}, BuildContext{});
      StepScope scope({}, 1, {}, comm, nullptr);
      std::vector<Batch> parts;
      for (std::size_t i = 0; i < pieces; ++i) {
        const auto n = static_cast<std::int64_t>(8 / pieces), first = static_cast<std::int64_t>(i) * n;
        Batch part;
        part.images = batch.images.narrow(0, first, n);
        part.tokens = batch.tokens.narrow(0, first, n);
        part.labels = batch.labels.narrow(0, first, n);
        part.first_position = first;
        parts.push_back(part);
      }
      const double expected = golden["trace.loss"][0].item<double>();
      EXPECT_NEAR(objective->accumulate(parts, scope).total.item<double>(), expected, 1e-5 * expected);
      int compared = 0;
      double squares = 0;
      for (const auto& [name, parameter] : objective->module().parameters()) {
        const at::Tensor gradient = golden["step1.grad." + name];
        const double largest = gradient.abs().max().item<double>();
        EXPECT_LT(difference(parameter.grad(), gradient),
                  std::max(10 * noise(facts, "step1.grad." + name), 1e-6 * largest))
            << name;
        squares += parameter.grad().to(at::kDouble).square().sum().item<double>();
        ++compared;
      }
      EXPECT_EQ(compared, std::count_if(golden.tensors().begin(), golden.tensors().end(),
                                        [](const auto& item) { return item.first.starts_with("step1.grad."); }));
      EXPECT_NEAR(std::sqrt(squares), golden["trace.grad_norm"][0].item<double>(), 1e-5 * std::sqrt(squares));
    });
  }
}

TEST(OpenClip, EncodersGiveTheGoldenFeatures) {
  const Golden golden("openclip_train");
  const TempDir folder;
  const auto objective =
      make_objective(ClipConfig{}, golden_model(write_weights(golden, folder)), CorpusFacts{}, BuildContext{});
  const Encoders encoders = objective->encoders();
  const Batch batch = first_batch(golden);
  EXPECT_LT(difference(encoders.image(batch.images.select(1, 0)), golden["step1.image_features"]), 2e-6);
  EXPECT_LT(difference(encoders.text(batch.tokens.select(1, 0)), golden["step1.text_features"]), 2e-6);
}

}  // namespace
}  // namespace triptych

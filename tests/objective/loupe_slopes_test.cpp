// LOUPE's gradients against central differences of its loss.
#include "core/objective/loupe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/objective/tiny_loupe.h"

namespace triptych {
namespace {

/// Central differences of the step's loss in two weights of each parameter that `wanted` names. Labels must not
/// change with them.
void expect_slopes(LoupeObjective& objective, const std::vector<std::string>& wanted) {
  run_ranks(1, [&](Collectives& comm) {
    const Batch batch = loupe_rows(loupe_batch(8), 1, 4);
    const auto gradients = [&] {
      StepScope own = loupe_scope(comm);
      return loupe_measured(objective, {batch}, own);
    };
    const auto at_start = gradients().gradients;
    int tried = 0;
    for (auto& [name, tensor] : objective.module().parameters()) {
      const bool ours =
          std::any_of(wanted.begin(), wanted.end(), [&](const auto& start) { return name.starts_with(start); });
      if (!ours) continue;
      const at::Tensor flat = tensor.detach().view({-1});
      for (const std::int64_t at : {flat.size(0) / 3, flat.size(0) - 1}) {
        const auto loss_at = [&](double by) {
          flat[at].add_(by);
          const double loss = gradients().loss;
          flat[at].sub_(by);
          return loss;
        };
        const double step = 1e-5, slope = (loss_at(step) - loss_at(-step)) / (2 * step);
        const double gradient = at_start.at(name).flatten()[at].item<double>();
        EXPECT_NEAR(gradient, slope, 1e-6 * std::max(1.0, std::abs(slope))) << name << " " << at;
        tried += std::abs(slope) > 1e-5 ? 1 : 0;
      }
    }
    EXPECT_GT(tried, 4);
  });
}

LoupeObjective& disturbed(LoupeObjective& objective) {
  disturb_loupe(objective);
  return objective;
}

TEST(LoupeSlopes, OfTheContrast) {
  auto config = tiny_loupe();
  config.tokens.weight = config.phrases.weight = 0;
  LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
  expect_slopes(disturbed(objective), {"visual.proj", "visual.layers.1", "text_projection", "temperature"});
}

/// The game sees regions by their members alone, which so small a step does not change.
TEST(LoupeSlopes, OfTheTokensInTheRegionHead) {
  for (const char* confidence : {"pooled", "token"}) {
    auto config = tiny_loupe();
    config.phrases.weight = 0;
    config.regions.confidence = confidence;
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    expect_slopes(disturbed(objective), {"region_"});
  }
}

/// Labels that are constants: a network sure of one number whatever it sees, through a sigmoid.
TEST(LoupeSlopes, OfThePhrasesInRegionHeadAndTowers) {
  auto config = tiny_loupe("attention", "both");
  config.tokens.weight = 0;
  config.phrases.label = "sigmoid";
  LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
  disturb_loupe(objective);
  shift_head(objective, "sigma", -60);
  shift_head(objective, "value", 0.4);
  const c10::NoGradGuard no_grad;
  loupe_state(objective).at("unsil.phrases.value.2.weight").fill_(0);
  const c10::AutoGradMode grad(true);
  expect_slopes(objective, {"region_head", "visual.proj", "text_projection", "encoder.layer.0.attention"});
}

TEST(LoupeSlopes, OfTheNetworksWhileTheyAreNotAsked) {
  for (const char* form : {"attention", "conv", "transformer"}) {
    auto config = tiny_loupe(form, "both");
    config.unsil.warmup = 100;
    config.tokens.coalitions = 2;
    config.tokens.targets = 3;
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    expect_slopes(disturbed(objective), {"unsil.tokens.value.0", "unsil.tokens.sigma.0", "unsil.tokens.text.context",
                                         "unsil.tokens.types", "unsil.phrases.value.0", "unsil.phrases.sigma.0",
                                         "unsil.phrases.image.target", "unsil.phrases.class_embedding"});
  }
}

}  // namespace
}  // namespace triptych

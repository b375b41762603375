// LOUPE on ranks and in micro-batches against its formula, and its contrast alone.
#include "core/objective/loupe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "tests/objective/plain_loupe.h"

namespace triptych {
namespace {

TEST(Loupe, IsTheFormulaOfTheWholeBatch) {
  expect_same_as_formula(tiny_loupe(), {1, 2, 3, 4}, {4, 2}, "sampler alone");
}

TEST(Loupe, EveryFormIsItsFormula) {
  const auto with = [](const std::string& name, const std::function<void(LoupeConfig&)>& change) {
    auto config = tiny_loupe();
    change(config);
    expect_same_as_formula(config, {3}, {2}, name);
  };
  with("own means", [](auto& c) { c.mean = "rank"; });
  with("hard members", [](auto& c) { c.regions.membership = "hard"; });
  with("own confidence", [](auto& c) { c.regions.confidence = "token"; });
  with("sharpness", [](auto& c) { c.regions.sharpness = 0.3; });
  with("renormalised", [](auto& c) { c.phrases.convention = "renormalised"; });
  with("one direction", [](auto& c) { c.phrases.directions = "rows"; });
  with("sigmoid", [](auto& c) { c.phrases.label = "sigmoid"; });
  with("attention pool", [](auto& c) { c.image_feature = "attention"; });
  with("one phrase", [](auto& c) { c.phrases.fewest = 1; });
  with("three phrases", [](auto& c) { c.phrases.fewest = 3; });
  with("no phrases", [](auto& c) { c.phrases.weight = 0; });
  with("no tokens", [](auto& c) { c.tokens.weight = 0; });
}

TEST(Loupe, TheNetworkSpeaksWhereItIsSure) {
  for (const char* form : {"attention", "conv", "transformer"}) {
    for (const char* level : {"tokens", "both"}) {
      auto config = tiny_loupe(form, level);
      expect_same_as_formula(config, {1, 3}, {2}, std::string(form) + " " + level);
      config.unsil.warmup = kLoupeStep + 1;  // it learns and is not asked
      expect_same_as_formula(config, {2}, {4}, std::string(form) + " warm-up " + level);
    }
  }
  auto config = tiny_loupe("attention", "both");
  config.tokens.targets = 1;  // the caps are met
  config.phrases.targets = 2;
  expect_same_as_formula(config, {4}, {4}, "caps");
  config.mean = "rank";
  config.tokens.targets = 100;
  expect_same_as_formula(config, {4}, {4}, "own means");
  config = tiny_loupe("attention", "both");
  config.unsil.moments_decay = 0.5;
  expect_same_as_formula(config, {2}, {2}, "moments that forget");
}

/// Of raw labels nothing is standardised, and there are no moments to save.
TEST(Loupe, RawLabelsAreRegressedAsTheyAre) {
  auto config = tiny_loupe("attention", "both");
  config.unsil.labels = "raw";
  expect_same_as_formula(config, {1, 3}, {2}, "raw labels");
  const auto got = loupe_ranks(1, 2, config);
  EXPECT_EQ(got.after.count("unsil.tokens.moments") + got.after.count("unsil.phrases.moments"), 0U);
  config.unsil.labels = "standardised";
  const auto standardised = loupe_ranks(1, 2, config);
  EXPECT_EQ(standardised.after.count("unsil.tokens.moments"), 1U);
  EXPECT_GT(std::abs(got.terms.at("unsil_tokens") - standardised.terms.at("unsil_tokens")), 1e-3);
}

/// Halves of coalitions and the network's guesses, which every case above compares, say something.
TEST(Loupe, LogsHowUnstableItsLabelsAreAndHowFarTheNetworkIsOff) {
  auto config = tiny_loupe("attention");
  const auto got = loupe_ranks(2, 2, config);
  EXPECT_GT(got.terms.at("token_instability"), 1e-3);
  EXPECT_GT(got.terms.at("unsil_error"), 1e-3);
  config.unsil.warmup = kLoupeStep + 1;
  EXPECT_FALSE(loupe_ranks(1, 4, config).terms.contains("unsil_error")) << "it is not asked";
  config = tiny_loupe("attention");
  config.tokens.weight = 0;
  config.unsil.level = "both";
  EXPECT_FALSE(loupe_ranks(1, 4, config).terms.contains("token_instability")) << "no game of tokens";
}

TEST(Loupe, ARankWithoutSampledTargetsTakesPart) {
  auto config = tiny_loupe("attention", "both");
  for (const double shift : {-4.0, -60.0, 60.0}) {
    const auto got = loupe_ranks(4, 4, config, [&](LoupeObjective& objective) {
      disturb_loupe(objective);
      shift_head(objective, "sigma", shift);
    });
    const auto expected = plain_step(config, got.before, 4, 4);
    expect_formula(got, expected, std::to_string(shift));
    expect_moments(got, expected, config.unsil.moments_decay, std::to_string(shift));
    EXPECT_EQ(got.gradients.size(), expected.gradients.size());
    if (shift == -4.0) {  // some ranks have targets, and one has none
      EXPECT_EQ(got.sampled.min().item<double>(), 0);
      EXPECT_GT(got.sampled.max().item<double>(), 0);
    } else {
      EXPECT_EQ(got.sampled.max().item<double>(), shift < 0 ? 0 : 0.5);  // none, or as many as the cap allows
    }
  }
}

/// Negative controls: formulas that are slightly wrong are told apart.
TEST(LoupeControl, AWrongFormulaIsNoticed) {
  auto config = tiny_loupe("attention", "both");
  const auto got = loupe_ranks(3, 2, config);
  const auto noticed = [&](const std::string& mistake, const LoupeConfig& wrong, std::int64_t micro_batch = 2) {
    const auto expected = plain_step(wrong, got.before, 3, micro_batch);
    EXPECT_GT(difference(got.gradients, expected.gradients), 1e-6) << mistake;
  };
  expect_formula(got, plain_step(config, got.before, 3, 2), "right");
  auto wrong = config;
  wrong.mean = "rank";
  noticed("mean", wrong);
  wrong = config;
  wrong.phrases.directions = "rows";
  noticed("directions", wrong);
  wrong = config;
  wrong.phrases.fewest = 1;
  noticed("fewest", wrong);
  wrong = config;
  wrong.unsil.labels = "raw";
  noticed("labels", wrong);
  wrong = config;
  wrong.phrases.convention = "renormalised";
  noticed("convention", wrong);
  wrong = config;
  wrong.tokens.targets = 2;
  noticed("targets", wrong);
  wrong = config;
  wrong.unsil.warmup = 100;
  noticed("warm-up", wrong);
  wrong = config;
  wrong.regions.membership = "hard";
  noticed("members", wrong);
  noticed("micro-batches", config, 4);
}

TEST(Loupe, SampledPairsComeNearTheExact) {
  auto config = tiny_loupe();
  const auto fsa = [&](std::int64_t samples) {
    config.phrases.value = samples == 0 ? "exact" : "sampled";
    config.phrases.samples = samples;
    return loupe_ranks(2, 2, config).terms.at("fsa");
  };
  const double exact = fsa(0), many = std::abs(fsa(20000) - exact), few = std::abs(fsa(20) - exact);
  EXPECT_LT(many, 0.03 * exact);
  EXPECT_GT(few, 2 * many);
  run_ranks(1, [&](Collectives& comm) {
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    disturb_loupe(objective);
    StepScope whole = loupe_scope(comm), cut = loupe_scope(comm);
    const Batch batch = loupe_rows(loupe_batch(8), 4, 4);  // one caption with phrases in each half
    const double once = loupe_measured(objective, {batch}, whole).terms.at("fsa");
    EXPECT_NEAR(loupe_measured(objective, loupe_cut(batch, 2), cut).terms.at("fsa"), once, 1e-12);  // the rows' draws
  });
}

// ---- Contrast alone ----

TEST(Loupe, WithoutGamesItIsTwiceClipWithoutARegionHead) {
  auto config = tiny_loupe();
  config.tokens.weight = config.phrases.weight = 0;
  config.temperature = 0.25;
  const auto got = loupe_ranks(3, 2, config);
  expect_formula(got, plain_step(config, got.before, 3, 2), "contrast");
  for (const auto& [name, gradient] : got.gradients) EXPECT_EQ(name.find("region"), std::string::npos) << name;
  run_ranks(1, [&](Collectives& comm) {
    const auto clip = make_objective(ClipConfig{}, tiny_loupe_model(), tiny_facts(), in_fp64());
    {
      const c10::NoGradGuard no_grad;
      for (auto& [name, tensor] : clip->module().parameters())
        name == "logit_scale" ? tensor.fill_(std::log(4.0)) : tensor.copy_(got.before.at(name));
    }
    StepScope scope = loupe_scope(comm);
    const Batch batch = loupe_batch(3 * kLoupeLocal);
    EXPECT_NEAR(2 * clip->accumulate(loupe_cut(batch, 12), scope).total.item<double>(), got.loss, 1e-12);
    for (const auto& [name, gradient] : gradients_of(clip->module())) {
      if (name == "logit_scale")  // 1 / temperature = e^scale
        EXPECT_NEAR(2 * gradient.item<double>() * -4, got.gradients.at("temperature").item<double>(), 1e-11);
      else
        EXPECT_LT(difference(2 * gradient, got.gradients.at(name)), 1e-11) << name;
    }
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    EXPECT_FALSE(objective.needs().phrases);
    EXPECT_EQ(objective.encode(loupe_batch(4), scope).size(), 2U);
    EXPECT_FALSE(objective.encoders().regions);
  });
}

TEST(Loupe, TheTemperatureStaysInItsBoundsOrIsNoneOfTheState) {
  run_ranks(1, [](Collectives& comm) {
    LoupeObjective learnt(tiny_loupe(), tiny_loupe_model(), tiny_facts(), in_fp64());
    StepScope scope = loupe_scope(comm);
    at::Tensor temperature = loupe_state(learnt).at("temperature");
    for (const auto& [value, wanted] : {std::pair{3.0, 0.5}, {-1.0, 0.01}, {0.2, 0.2}}) {
      temperature.fill_(value);
      learnt.after_update(scope);
      EXPECT_DOUBLE_EQ(temperature.item<double>(), wanted);
      EXPECT_DOUBLE_EQ(learnt.encoders().scale->item<double>(), 1 / wanted);
    }
    auto config = tiny_loupe();
    config.learn_temperature = false;
    config.temperature = 0.125;
    LoupeObjective fixed(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    EXPECT_FALSE(loupe_state(fixed).contains("temperature"));
    for (const auto& [name, tensor] : fixed.module().parameters()) EXPECT_NE(name, "temperature");
    EXPECT_DOUBLE_EQ(fixed.encoders().scale->item<double>(), 8);
  });
  auto config = tiny_loupe();
  config.learn_temperature = false;
  expect_same_as_formula(config, {2}, {2}, "fixed temperature");
}

}  // namespace
}  // namespace triptych

// LOUPE on rows that bring little, in steps that are skipped, and in half precision.
#include "core/objective/loupe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/objective/tiny_loupe.h"

namespace triptych {
namespace {

TEST(Loupe, OneRegionOnePhraseAndEmptyCaptionsAreDefined) {
  auto config = tiny_loupe("conv", "both");
  config.regions.count = 1;
  run_ranks(1, [&](Collectives& comm) {
    const Batch all = loupe_batch(8);
    for (const auto& batch : {loupe_rows(all, 7, 1), loupe_rows(all, 0, 1), loupe_rows(all, 3, 1), all}) {
      LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
      disturb_loupe(objective);
      StepScope scope = loupe_scope(comm);
      const auto got = loupe_measured(objective, {batch}, scope);
      EXPECT_TRUE(std::isfinite(got.loss));
      for (const auto& [name, gradient] : got.gradients) {
        ASSERT_TRUE(gradient.defined()) << name;
        EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << name;
      }
      const bool alone = batch.images.size(0) == 1;
      EXPECT_EQ(got.terms.at("fsa") == 0, alone);  // less than two phrases
      EXPECT_EQ(got.terms.at("captions_with_phrases") == 0, alone);
      EXPECT_GT(got.terms.at("tsa"), 0);  // one region's label is 1/2
    }
  });
}

TEST(Loupe, ASkippedStepLeavesNothingBehind) {
  run_ranks(1, [](Collectives& comm) {
    auto config = tiny_loupe("attention");
    config.unsil.warmup = 100;
    const auto moments_after = [&](bool skipped) {
      LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
      disturb_loupe(objective);
      StepScope first = loupe_scope(comm, 1), second = loupe_scope(comm, 2);
      if (skipped) loupe_measured(objective, {loupe_rows(loupe_batch(8), 4, 4)}, first);  // no update
      loupe_measured(objective, {loupe_rows(loupe_batch(8), 0, 4)}, second);
      objective.after_update(second);
      return loupe_state(objective).at("unsil.tokens.moments").clone();
    };
    EXPECT_TRUE(at::equal(moments_after(true), moments_after(false)));
  });
}

// ---- Refusals ----

/// Count, sum and sum of squares of what the sampler said of every region of a step in fp32.
at::Tensor taught_in(const std::string& compute) {
  auto config = tiny_loupe("attention");
  config.unsil.warmup = 100;
  config.tokens.targets = kLoupeLocal * config.regions.count;
  config.tokens.compute = compute;
  at::Tensor sums;
  run_ranks(1, [&](Collectives& comm) {
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), {.seed = kSeed, .parameters = at::kFloat});
    disturb_loupe(objective);
    const c10::NoGradGuard no_grad;
    sums = loupe_state(objective).at("unsil.tokens.moments").fill_(0);
    const c10::AutoGradMode grad(true);
    StepScope scope({.step = kLoupeStep, .samples_seen = kLoupeFirst, .epoch = 0}, kSeed, {at::kFloat, at::kFloat},
                    comm, nullptr);
    loupe_measured(objective, {loupe_rows(loupe_batch(8), 4, 4)}, scope);
    objective.after_update(scope);
    sums = sums.clone();
  });
  return sums;
}

TEST(Loupe, MaskedForwardsInBf16AreNearThoseOfTheRun) {
  const at::Tensor run = taught_in("run"), bf16 = taught_in("bf16");
  EXPECT_EQ(run[0].item<double>(), 12);
  EXPECT_EQ(bf16[0].item<double>(), 12);
  const auto rms = [](const at::Tensor& sums) { return std::sqrt((sums[2] / sums[0]).item<double>()); };
  const double apart = std::abs((run[1] - bf16[1]).item<double>()) / 12;
  EXPECT_GT(apart, 1e-6 * rms(run)) << "rounding to 8 bits is seen";
  EXPECT_LT(apart, 0.05 * rms(run));
  EXPECT_NEAR(rms(bf16), rms(run), 0.05 * rms(run));
  EXPECT_TRUE(at::equal(run, taught_in("run"))) << "nothing else changes them";
}

}  // namespace
}  // namespace triptych

// `triptych bench interactions` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/apps/run_json.h"
#include "tests/apps/tiny_loupe_run.h"

namespace triptych {
namespace {

using testing::HasSubstr;

/// What does not depend on the clock.
nlohmann::json without_times(nlohmann::json result) {
  result.erase("seconds");
  result["phrase_game"].erase("exact_ms");
  result["phrase_game"].erase("sampled_ms");
  return result;
}

TEST(BenchInteractions, JudgesSamplersNetworkAndPhraseGame) {
  const TempDir dir;
  train_tiny_loupe(dir);
  const auto command = "triptych bench interactions --checkpoint " + (dir / "runs/loupe").string() +
                       " --pictures 3 --coalitions 100 --seconds 500";
  const auto result = run_json(command);
  ASSERT_TRUE(result.is_object());
  EXPECT_EQ(result["pictures"], 3);
  EXPECT_EQ(result["pictures_of_samplers"], 3);
  EXPECT_EQ(result["unusable"], 0);
  ASSERT_EQ(result["samplers"].size(), 8U);
  for (const auto& row : result["samplers"]) {
    const double coalitions = row["coalitions"], forwards = row["forwards_a_region"];
    EXPECT_GT(forwards, coalitions);
    EXPECT_LE(forwards, 4 * coalitions) << "with and without the region, and two of its cells alone";
    EXPECT_GT(row["instability"], 0);
  }
  ASSERT_EQ(result["for_instability_0.06"].size(), 4U);
  EXPECT_EQ(result["for_instability_0.06"][0]["share_of_naive"], 1);

  const auto network = result["network"];
  EXPECT_EQ(network["reference_coalitions"], 100);
  EXPECT_EQ(network["regions"], 9);
  EXPECT_GE(network["error"], 0);
  EXPECT_LE(std::fabs(network["correlation"].get<double>()), 1);
  const double sigma = network["mean_uncertainty"], gates = 1000 * 9;
  EXPECT_NEAR(network["gated"], sigma, 4 * std::sqrt(sigma * (1 - sigma) / gates));
  EXPECT_GT(sigma, 16 / gates) << "else half of it would be near, too";

  const auto phrases = result["phrase_game"];
  EXPECT_EQ(phrases["captions"], 3);
  EXPECT_GT(phrases["exact_ms"], 0);
  EXPECT_LT(phrases["exact_ms"], phrases["sampled_ms"]);
  EXPECT_GT(phrases["sampled_error"], 1e-6) << "a sampler errs";
  EXPECT_LT(phrases["sampled_error"], 0.5);
  EXPECT_EQ(without_times(result), without_times(run_json(command)));
}

TEST(BenchInteractions, StopsInTimeAndNeedsNoNetwork) {
  const TempDir dir;
  train_tiny_loupe(dir, " --set objective.unsil='{type: none}'");
  const auto command = "triptych bench interactions --checkpoint " + (dir / "runs/loupe").string();
  const auto result = run_json(command + " --seconds 0.001 --pictures 20");
  EXPECT_EQ(result["pictures"], 20);
  EXPECT_EQ(result["pictures_of_samplers"], 1);
  EXPECT_EQ(result["network"], "none");
}

TEST(BenchInteractions, RefusesOptionsOfOthers) {
  const auto refused = [](const std::string& options, const std::string& words) {
    const auto outcome = run_shell("triptych bench " + options);
    EXPECT_EQ(outcome.code, 2) << options;
    EXPECT_THAT(outcome.err, HasSubstr(words)) << options;
  };
  refused("interactions", "--checkpoint is required");
  refused("interactions --checkpoint x --batch 3", "bench interactions: takes only --checkpoint");
  refused("interactions --checkpoint x --inputs README.md", "bench interactions: takes only --checkpoint");
  refused("interactions --checkpoint x --set model.embed_dim=3", "changes nothing here");
  refused("loss --checkpoint x", "are for bench interactions");
  refused("index --pictures 3", "are for bench interactions");
  refused("step --coalitions 4", "are for bench interactions");
}

}  // namespace
}  // namespace triptych

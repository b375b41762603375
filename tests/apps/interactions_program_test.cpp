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
  result["phrase_game_10_6"].erase("exact_us_a_pair");
  result["phrase_game_10_6"].erase("sampled_us_a_pair");
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
  EXPECT_EQ(result["repeats"], 20) << "there was time for all";
  ASSERT_EQ(result["samplers"].size(), 8U);
  for (const auto& row : result["samplers"]) {
    const double coalitions = row["coalitions"], forwards = row["forwards_a_region"];
    EXPECT_GT(forwards, coalitions);
    if (row["sampler"] == "naive")
      EXPECT_GT(forwards, 4 * coalitions) << "each of 9 cells or so alone";
    else
      EXPECT_LE(forwards, 4 * coalitions) << "with and without the region, and two of its cells alone";
    EXPECT_GT(row["instability"], 0);
  }
  ASSERT_EQ(result["for_instability_0.06"].size(), 4U);
  EXPECT_EQ(result["for_instability_0.06"][0]["share_of_naive"], 1);
  EXPECT_EQ(result["for_instability_0.06"][0]["share_error"], 0);
  for (const auto& row : result["for_instability_0.06"]) {
    EXPECT_GT(row["standard_error"], 0);
    EXPECT_GT(row["forwards_a_region"], 0);
  }

  const auto network = result["network"];
  EXPECT_EQ(network["reference_coalitions"], 100);
  EXPECT_EQ(network["regions"], 9);
  EXPECT_GE(network["error"], 0);
  EXPECT_LE(std::fabs(network["correlation"].get<double>()), 1);
  const double sigma = network["mean_uncertainty"], gates = 1000 * 9;
  EXPECT_NEAR(network["gated"], sigma, 4 * std::sqrt(sigma * (1 - sigma) / gates));
  EXPECT_GT(sigma, 16 / gates) << "else half of it would be near, too";
  EXPECT_EQ(network["regions_a_micro_batch"], 30) << "3 of each of 10 pictures";
  EXPECT_EQ(network["sampled_at_most"], 6);
  EXPECT_LE(network["sampled"], 6.0 / 30);
  EXPECT_LE(network["sampled"], network["gated"].get<double>() + 0.05);
  EXPECT_GT(network["sampled"], 0);

  const auto phrases = result["phrase_game"];
  EXPECT_EQ(phrases["captions"], 3);
  EXPECT_GT(phrases["exact_ms"], 0);
  EXPECT_LT(phrases["exact_ms"], phrases["sampled_ms"]);
  EXPECT_GT(phrases["sampled_error"], 1e-6) << "a sampler errs";
  EXPECT_LT(phrases["sampled_error"], 0.5);
  const auto drawn = result["phrase_game_10_6"];
  EXPECT_EQ(drawn["regions"], 10);
  EXPECT_EQ(drawn["phrases"], 6);
  EXPECT_GT(drawn["exact_us_a_pair"], 0);
  EXPECT_LT(drawn["exact_us_a_pair"], drawn["sampled_us_a_pair"]);
  EXPECT_EQ(drawn["exact_instability"], 0);
  EXPECT_GT(drawn["sampled_error"], 1e-4);
  EXPECT_LT(drawn["sampled_error"], 0.2) << "of 500 samples";
  // Two estimates err apart, and pairs that are worth little count as much as others.
  EXPECT_GT(drawn["sampled_instability"], drawn["sampled_error"].get<double>());
  EXPECT_LT(drawn["sampled_instability"], 1);
  EXPECT_EQ(without_times(result), without_times(run_json(command)));
}

TEST(BenchInteractions, StopsInTimeAndNeedsNoNetwork) {
  const TempDir dir;
  train_tiny_loupe(dir, " --set objective.unsil='{type: none}'");
  const auto command = "triptych bench interactions --checkpoint " + (dir / "runs/loupe").string();
  const auto result = run_json(command + " --seconds 0.001 --pictures 20");
  EXPECT_EQ(result["pictures"], 20);
  EXPECT_EQ(result["pictures_of_samplers"], 1);
  EXPECT_EQ(result["repeats"], 3);
  EXPECT_TRUE(result["for_instability_0.06"][1]["standard_error"].is_null()) << "one picture has no spread";
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

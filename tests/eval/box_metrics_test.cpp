// Overlaps and average precision against recorded answers of pycocotools, the rest by hand and by its definition.
#include "core/eval/box_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/base/random_key.h"
#include "tests/support/paths.h"

namespace triptych {
namespace {

using testing::ElementsAre;

constexpr double kGoldenTolerance = 1e-12;

const nlohmann::json& golden_boxes() {
  static const auto file = nlohmann::json::parse(std::ifstream(source_path("tests/golden/boxes.json")));
  return file;
}

RealBox golden_box(const nlohmann::json& numbers, std::size_t first = 0) {
  return {numbers[first].get<double>(), numbers[first + 1].get<double>(), numbers[first + 2].get<double>(),
          numbers[first + 3].get<double>()};
}

/// What a wrong implementation would do to a recorded case before it is solved.
struct Spoilt {
  bool crowds_are_objects = false, ties_reversed = false, pictures_mixed = false;
};

/// The average precision of a class of a recorded case, or nothing.
std::optional<double> solved(const nlohmann::json& recorded, int category, double iou, Spoilt spoilt = {}) {
  std::vector<Judged> judged;
  std::int64_t positives = 0;
  const int pictures = spoilt.pictures_mixed ? 1 : recorded["pictures"].get<int>();
  for (int picture = 0; picture < pictures; ++picture) {
    const auto mine = [&](const nlohmann::json& row) {
      return row[1] == category && (spoilt.pictures_mixed || row[0] == picture);
    };
    std::vector<Truth> truths;
    for (const auto& row : recorded["truths"]) {
      if (mine(row)) truths.push_back({golden_box(row, 3), row[2] == 1 && !spoilt.crowds_are_objects});
    }
    for (const auto& truth : truths) positives += !truth.crowd;
    std::vector<std::pair<double, RealBox>> found;
    for (const auto& row : recorded["detections"]) {
      if (mine(row)) found.emplace_back(row[2].get<double>(), golden_box(row, 3));
    }
    if (spoilt.ties_reversed) std::reverse(found.begin(), found.end());
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<RealBox> boxes;
    for (const auto& one : found) boxes.push_back(one.second);
    const auto verdicts = match_boxes(boxes, truths, iou);
    for (std::size_t i = 0; i < boxes.size(); ++i) judged.push_back({found[i].first, verdicts[i]});
  }
  return average_precision(judged, positives);
}

/// The largest difference from pycocotools over all classes and thresholds of a case.
double golden_difference(const nlohmann::json& recorded, Spoilt spoilt = {}) {
  double largest = 0;
  for (int category = 0; category < recorded["classes"]; ++category) {
    const auto& expected = recorded["ap"][static_cast<std::size_t>(category)];
    for (std::size_t k = 0; k < golden_boxes()["thresholds"].size(); ++k) {
      const auto got = solved(recorded, category, golden_boxes()["thresholds"][k], spoilt);
      if (expected[k].is_null() != !got) return 1e9;
      if (got) largest = std::max(largest, std::abs(*got - expected[k].get<double>()));
    }
  }
  return largest;
}

TEST(BoxOverlap, IsThatOfPycocotools) {
  const auto& recorded = golden_boxes()["overlaps"];
  for (std::size_t i = 0; i < recorded["detections"].size(); ++i) {
    for (std::size_t j = 0; j < recorded["truths"].size(); ++j) {
      const auto box = golden_box(recorded["detections"][i]), truth = golden_box(recorded["truths"][j]);
      EXPECT_NEAR(box_iou(box, truth), recorded["iou"][i][j].get<double>(), kGoldenTolerance);
      EXPECT_NEAR(box_iou(truth, box), recorded["iou"][i][j].get<double>(), kGoldenTolerance);
      EXPECT_NEAR(share_inside(box, truth), recorded["crowd"][i][j].get<double>(), kGoldenTolerance);
    }
  }
}

TEST(BoxOverlap, OfBoxesWithoutAreaIsNothing) {
  EXPECT_EQ(box_iou({1, 1, 0, 0}, {1, 1, 0, 0}), 0);
  EXPECT_EQ(share_inside({1, 1, 0, 2}, {0, 0, 4, 4}), 0);
  EXPECT_EQ(box_iou({0, 0, 1, 1}, {1, 0, 1, 1}), 0) << "they touch";
  EXPECT_EQ(box_iou({std::numeric_limits<double>::quiet_NaN(), 0, 1, 1}, {0, 0, 1, 1}), 0);
}

TEST(CentreInside, CountsBorders) {
  EXPECT_TRUE(centre_inside({0, 0, 2, 2}, {1, 1, 5, 5}));
  EXPECT_FALSE(centre_inside({0, 0, 1.9, 2}, {1, 1, 5, 5}));
  EXPECT_FALSE(centre_inside({0, 0, 2, 12.1}, {1, 1, 5, 5}));
}

TEST(AveragePrecision, IsThatOfPycocotools) {
  for (const auto& recorded : golden_boxes()["cases"]) {
    EXPECT_LT(golden_difference(recorded), kGoldenTolerance) << recorded["name"];
  }
}

TEST(AveragePrecision, OfARecordedCaseChangesWhenARuleIsBroken) {
  std::map<std::string, double> crowds, ties, mixed;
  for (const auto& recorded : golden_boxes()["cases"]) {
    crowds[recorded["name"]] = golden_difference(recorded, {.crowds_are_objects = true});
    ties[recorded["name"]] = golden_difference(recorded, {.ties_reversed = true});
    mixed[recorded["name"]] = golden_difference(recorded, {.pictures_mixed = true});
  }
  EXPECT_GT(crowds["crowd"], 0.01);
  EXPECT_GT(crowds["crowd_ties"], 0.01);
  EXPECT_LT(crowds["random"], kGoldenTolerance) << "there are no crowds in it";
  EXPECT_GT(ties["ties"], 0.001);
  EXPECT_GT(ties["crowd_ties"], 0.001);
  EXPECT_LT(ties["random"], kGoldenTolerance) << "no scores are equal in it";
  EXPECT_GT(mixed["random"], 0.01);
}

TEST(AveragePrecision, ByHand) {
  const auto hit = Verdict::kHit, miss = Verdict::kMiss, ignored = Verdict::kIgnored;
  EXPECT_FALSE(average_precision({{0.5, miss}}, 0).has_value());
  EXPECT_EQ(average_precision({}, 3), 0);
  EXPECT_EQ(average_precision({{0.5, ignored}}, 3), 0);
  EXPECT_NEAR(*average_precision({{0.1, hit}, {0.9, hit}}, 2), 1, 1e-15);
  // Recall 1/2 at precision 1, then nothing: 0, 0.01, ..., 0.50 are reached.
  EXPECT_NEAR(*average_precision({{0.9, hit}, {0.8, miss}}, 2), 51.0 / 101, 1e-15);
  // The better precision behind counts for the recalls before it.
  EXPECT_NEAR(*average_precision({{0.9, miss}, {0.8, hit}, {0.7, hit}}, 2), 2.0 / 3, 1e-15);
  EXPECT_NEAR(*average_precision({{0.9, ignored}, {0.8, hit}, {0.7, ignored}, {0.6, hit}}, 2), 1, 1e-15);
  // A tie stays in the order given.
  EXPECT_NEAR(*average_precision({{0.5, hit}, {0.5, miss}}, 1), 1, 1e-15);
  EXPECT_NEAR(*average_precision({{0.5, miss}, {0.5, hit}}, 1), 0.5, 1e-15);
}

TEST(MatchBoxes, ByHand) {
  const RealBox object{0, 0, 10, 10}, shifted{0, 1, 10, 10}, far{50, 50, 10, 10};
  const std::vector<Truth> one = {{object, false}}, crowd = {{{0, 0, 40, 40}, true}};
  using Boxes = std::vector<RealBox>;
  EXPECT_THAT(match_boxes(Boxes{shifted, object, far}, one, 0.5),
              ElementsAre(Verdict::kHit, Verdict::kMiss, Verdict::kMiss))
      << "the best scored takes it, though the second fits better";
  EXPECT_THAT(match_boxes(Boxes{{0, 0, 10, 5}}, one, 0.5), ElementsAre(Verdict::kHit)) << "an IoU of 0.5 is enough";
  EXPECT_THAT(match_boxes(Boxes{{0, 0, 10, 4.9}}, one, 0.5), ElementsAre(Verdict::kMiss));
  EXPECT_THAT(match_boxes(Boxes{object, shifted, far}, crowd, 0.5),
              ElementsAre(Verdict::kIgnored, Verdict::kIgnored, Verdict::kMiss))
      << "any number of detections may lie in a crowd";
  const std::vector<Truth> both = {crowd[0], one[0]};
  EXPECT_THAT(match_boxes(Boxes{object, object}, both, 0.5), ElementsAre(Verdict::kHit, Verdict::kIgnored))
      << "an object goes before a crowd";
}

TEST(Suppress, KeepsWhatItsDefinitionSays) {
  RandomStream draws(random_key(7, Purpose::kTest, {11}));
  for (int round = 0; round < 200; ++round) {
    std::vector<RealBox> boxes;
    std::vector<double> scores;
    for (int i = 0; i < 12; ++i) {
      boxes.push_back({draws.uniform(0, 4), draws.uniform(0, 4), draws.uniform(1, 5), draws.uniform(1, 5)});
      scores.push_back(static_cast<double>(draws.below(6)));  // many are equal
    }
    const double limit = draws.uniform(0.1, 0.7);
    const auto kept = suppress(boxes, scores, limit);
    const auto better = [&](std::size_t a, std::size_t b) {
      return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
    };
    EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end(), better));
    // A box is kept exactly if no kept box before it overlaps it.
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const bool is_kept = std::find(kept.begin(), kept.end(), i) != kept.end();
      const bool hidden = std::any_of(
          kept.begin(), kept.end(), [&](std::size_t k) { return better(k, i) && box_iou(boxes[k], boxes[i]) > limit; });
      EXPECT_NE(is_kept, hidden) << "box " << i << " of round " << round;
    }
  }
}

TEST(Suppress, AnOverlapOfExactlyTheLimitStays) {
  const std::vector<RealBox> boxes = {{0, 0, 10, 10}, {0, 0, 10, 5}, {0, 0, 10, 9}};
  EXPECT_THAT(suppress(boxes, std::vector<double>{3, 2, 1}, 0.5), ElementsAre(0, 1));
  EXPECT_THAT(suppress(boxes, std::vector<double>{1, 1, 1}, 1), ElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace triptych

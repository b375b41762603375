// Boxes around what lights up, by hand and against cells that are joined pair by pair.
#include "core/eval/activation_boxes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "core/base/random_key.h"

namespace triptych {
namespace {

using Map = std::vector<double>;

void expect_box(const RealBox& got, double x, double y, double width, double height, const std::string& say = "") {
  EXPECT_DOUBLE_EQ(got.x, x) << say;
  EXPECT_DOUBLE_EQ(got.y, y) << say;
  EXPECT_DOUBLE_EQ(got.width, width) << say;
  EXPECT_DOUBLE_EQ(got.height, height) << say;
}

TEST(ActivationBox, ByHand) {
  const Map map = {0, 0, 0, 0,  //
                   0, 8, 5, 0,  //
                   0, 0, 4, 0,  //
                   7, 0, 0, 7};
  expect_box(activation_box(map, 0.5), 0.25, 0.25, 0.5, 0.5, "the sevens touch nothing");
  expect_box(activation_box(map, 0.6), 0.25, 0.25, 0.5, 0.25, "4 of 8 is too little");
  expect_box(activation_box(map, 1), 0.25, 0.25, 0.25, 0.25, "the best cell alone");
  expect_box(activation_box(map, 0), 0, 0, 1, 1, "every cell is at least the least");
}

TEST(ActivationBox, CornersDoNotJoinAndTheFirstOfEqualCellsIsTheBest) {
  expect_box(activation_box(Map{9, 0, 0,  //
                                0, 9, 9,  //
                                0, 0, 9},
                            0.5),
             0, 0, 1 / 3.0, 1 / 3.0);
}

TEST(ActivationBox, DependsOnDifferencesAlone) {
  const Map map = {0.1, 0.9, 0.3, 0.2, 0.7, 0.1, 0.4, 0.2, 0.6};
  Map moved;
  for (const double value : map) moved.push_back(-3 + 0.25 * value);
  const auto box = activation_box(map, 0.5), other = activation_box(moved, 0.5);
  expect_box(other, box.x, box.y, box.width, box.height);
}

TEST(ActivationBox, OfAMapThatSaysNothingIsTheWholePicture) {
  expect_box(activation_box(Map(9, 0.3), 0.5), 0, 0, 1, 1);
  expect_box(activation_box(Map{-2}, 0.5), 0, 0, 1, 1);
}

/// Cells of the best one's component by repeated joining of neighbours, then their extent.
RealBox joined_box(const Map& map, int side, double threshold) {
  const auto [low, high] = std::minmax_element(map.begin(), map.end());
  std::vector<int> group(map.size());
  for (std::size_t i = 0; i < group.size(); ++i) group[i] = static_cast<int>(i);
  const auto lit = [&](int cell) { return (map[static_cast<std::size_t>(cell)] - *low) / (*high - *low) >= threshold; };
  const int cells = side * side;
  for (int round = 0; round < cells; ++round) {
    for (int a = 0; a < cells; ++a) {
      for (int b = 0; b < cells; ++b) {
        const int distance = std::abs(a % side - b % side) + std::abs(a / side - b / side);
        if (distance != 1 || !lit(a) || !lit(b)) continue;
        auto &of_a = group[static_cast<std::size_t>(a)], &of_b = group[static_cast<std::size_t>(b)];
        of_a = of_b = std::min(of_a, of_b);
      }
    }
  }
  const int best = static_cast<int>(std::max_element(map.begin(), map.end()) - map.begin());
  int left = side, right = -1, top = side, bottom = -1;
  for (int cell = 0; cell < cells; ++cell) {
    if (group[static_cast<std::size_t>(cell)] != group[static_cast<std::size_t>(best)]) continue;
    left = std::min(left, cell % side), right = std::max(right, cell % side);
    top = std::min(top, cell / side), bottom = std::max(bottom, cell / side);
  }
  const double s = side;
  return {left / s, top / s, (right - left + 1) / s, (bottom - top + 1) / s};
}

TEST(ActivationBox, AgainstCellsJoinedPairByPair) {
  RandomStream draws(random_key(7, Purpose::kTest, {21}));
  int grown = 0;
  for (int round = 0; round < 300; ++round) {
    const int side = 2 + static_cast<int>(draws.below(5));
    Map map;
    for (int i = 0; i < side * side; ++i) map.push_back(draws.uniform(-1, 1));
    const double threshold = draws.uniform(0.2, 0.9);
    const auto box = activation_box(map, threshold), expected = joined_box(map, side, threshold);
    expect_box(box, expected.x, expected.y, expected.width, expected.height, "round " + std::to_string(round));
    grown += box.width * box.height * side * side > 2.5;
  }
  EXPECT_GT(grown, 50) << "most components of this test must be more than a cell";
}

TEST(ActivationBox, RefusesWhatIsNoMap) {
  EXPECT_THROW(activation_box(Map{}, 0.5), std::invalid_argument);
  EXPECT_THROW(activation_box(Map(6, 1.0), 0.5), std::invalid_argument);
  EXPECT_THROW(activation_box(Map{0, 1, std::numeric_limits<double>::quiet_NaN(), 2}, 0.5), std::invalid_argument);
  EXPECT_THROW(activation_box(Map{0, 1, std::numeric_limits<double>::infinity(), 2}, 0.5), std::invalid_argument);
}

}  // namespace
}  // namespace triptych

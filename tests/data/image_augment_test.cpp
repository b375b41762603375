// Crops, flips and views.
#include "data/image/augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace triptych {
namespace {

RandomStream view_draws(std::uint64_t position, std::uint64_t view = 0) {
  return RandomStream(random_key(1, Purpose::kCrop, {position, view}));
}

Image gradient(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (const int value : {255 * x / width, 255 * y / height, (x * 7 + y * 13) % 256})
        image.rgb.push_back(static_cast<std::uint8_t>(value));
  return image;
}

std::vector<std::uint8_t> trained(const Image& image, const AugmentConfig& config, int size, RandomStream draws) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(size * size * 3));
  training_view(image, config, size, draws, out);
  return out;
}

// torchvision's rule, written down once more with the same draws.
Box plain_crop(double width, double height, std::array<double, 2> scale, std::array<double, 2> ratio,
               RandomStream draws) {
  for (int i = 0; i < 10; ++i) {
    const double target = width * height * (scale[0] + (scale[1] - scale[0]) * draws.uniform());
    const double log_ratio = std::log(ratio[0]) + (std::log(ratio[1]) - std::log(ratio[0])) * draws.uniform();
    const int w = static_cast<int>(std::lrint(std::sqrt(target * std::exp(log_ratio))));
    const int h = static_cast<int>(std::lrint(std::sqrt(target / std::exp(log_ratio))));
    if (0 < w && w <= width && 0 < h && h <= height) {
      const auto top = draws.below(static_cast<std::int64_t>(height) - h + 1);
      return {static_cast<int>(draws.below(static_cast<std::int64_t>(width) - w + 1)), static_cast<int>(top), w, h};
    }
  }
  return {};
}

TEST(RandomResizedCrop, FollowsTheRuleDrawByDraw) {
  for (std::uint64_t position = 0; position < 2000; ++position) {
    auto draws = view_draws(position);
    const Box box = random_resized_crop({97, 61}, {0.08, 1.0}, {0.75, 4.0 / 3}, draws);
    const Box expected = plain_crop(97, 61, {0.08, 1.0}, {0.75, 4.0 / 3}, view_draws(position));
    ASSERT_TRUE(expected.width == 0 || box == expected) << position;
    ASSERT_TRUE(box.x >= 0 && box.y >= 0 && box.x + box.width <= 97 && box.y + box.height <= 61);
  }
}

TEST(RandomResizedCrop, AreaAndPlaceAreUniform) {
  const int side = 400;
  double area = 0, log_ratio = 0, left = 0;
  const int n = 20000;
  for (int i = 0; i < n; ++i) {
    auto draws = view_draws(static_cast<std::uint64_t>(i), 1);
    const Box box = random_resized_crop({side, side}, {0.2, 0.4}, {0.75, 4.0 / 3}, draws);
    const double share = static_cast<double>(box.width) * box.height / (side * side);
    ASSERT_GT(share, 0.198);
    ASSERT_LT(share, 0.402);
    area += share / n;
    log_ratio += std::log(static_cast<double>(box.width) / box.height) / n;
    left += static_cast<double>(box.x) / (side - box.width) / n;
  }
  EXPECT_NEAR(area, 0.3, 0.002);
  EXPECT_NEAR(log_ratio, 0, 0.006);
  EXPECT_NEAR(left, 0.5, 0.01);
}

TEST(RandomResizedCrop, FallsBackToTheCentralBox) {
  struct Case {
    Size image;
    Box expected;
  };
  // Scales beyond 1 never fit, so every try fails.
  const Case cases[] = {{{100, 90}, {0, 0, 100, 90}},    {{1000, 90}, {440, 0, 120, 90}},
                        {{90, 1000}, {0, 440, 90, 120}}, {{65500, 1}, {32749, 0, 1, 1}},
                        {{1, 65500}, {0, 32749, 1, 1}},  {{1, 1}, {0, 0, 1, 1}}};
  for (const auto& c : cases) {
    auto draws = view_draws(0);
    EXPECT_EQ(random_resized_crop(c.image, {9, 10}, {0.75, 4.0 / 3}, draws), c.expected)
        << c.image.width << " x " << c.image.height;
  }
}

TEST(TrainingView, IsAFunctionOfItsKey) {
  const Image image = gradient(120, 80);
  AugmentConfig config;
  config.scale = {0.1, 1.0};
  config.flip = 0.5;
  const auto first = trained(image, config, 32, view_draws(5, 0));
  EXPECT_EQ(first, trained(image, config, 32, view_draws(5, 0)));
  EXPECT_NE(first, trained(image, config, 32, view_draws(6, 0)));
  EXPECT_NE(first, trained(image, config, 32, view_draws(5, 1)));
}

TEST(TrainingView, CropsThenFlips) {
  const Image image = gradient(120, 80);
  AugmentConfig config;
  config.scale = {0.1, 1.0};
  int flips = 0;
  for (std::uint64_t position = 0; position < 400; ++position) {
    config.flip = 0;
    const auto straight = trained(image, config, 16, view_draws(position));
    auto draws = view_draws(position);
    const Box box = random_resized_crop({120, 80}, config.scale, config.ratio, draws);
    std::vector<std::uint8_t> expected(16 * 16 * 3);
    resize_bicubic(image, box, {16, 16}, {0, 0, 16, 16}, false, expected);
    ASSERT_EQ(straight, expected);
    config.flip = 1;
    const auto mirrored = trained(image, config, 16, view_draws(position));
    for (std::size_t y = 0; y < 16; ++y)
      for (std::size_t x = 0; x < 16; ++x) ASSERT_EQ(mirrored[(y * 16 + x) * 3], straight[(y * 16 + 15 - x) * 3]);
    config.flip = 0.25;
    flips += trained(image, config, 16, view_draws(position)) == mirrored;
  }
  EXPECT_NEAR(flips, 100, 30);
}

TEST(TrainingView, WithoutRecipeNothingIsDrawn) {
  const Image image = gradient(50, 70);
  AugmentConfig config;
  config.recipe = "none";
  std::vector<std::uint8_t> expected(24 * 24 * 3);
  evaluation_view(image, 24, expected);
  EXPECT_EQ(trained(image, config, 24, view_draws(1)), expected);
  EXPECT_EQ(trained(image, config, 24, view_draws(2)), expected);
  config.recipe = "unknown";
  EXPECT_THROW(trained(image, config, 24, view_draws(1)), std::invalid_argument);
  std::vector<std::uint8_t> small(10);
  EXPECT_THROW(evaluation_view(image, 24, small), std::invalid_argument);
}

TEST(EvaluationView, TakesTheMiddle) {
  // 50 x 70 to 24 x 33 (33.6 cut off), rows 4 .. 27 (4.5 rounds to even).
  const Image image = gradient(50, 70);
  std::vector<std::uint8_t> view(24 * 24 * 3), all(24 * 33 * 3);
  evaluation_view(image, 24, view);
  resize_bicubic(image, {0, 0, 50, 70}, {24, 33}, {0, 0, 24, 33}, false, all);
  EXPECT_TRUE(std::equal(view.begin(), view.end(), all.begin() + 4 * 24 * 3));
}

}  // namespace
}  // namespace triptych

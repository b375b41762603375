// Crops, flips and views.
#include "data/image/augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "data/image/blur.h"
#include "data/image/color.h"
#include "data/image/color_jitter.h"
#include "data/image/erase.h"
#include "data/image/mix.h"
#include "data/image/rand_augment.h"

namespace triptych {
namespace {

ViewKey view_key(std::int64_t position, int view = 0) {
  return {1, position, view};
}
RandomStream view_draws(std::int64_t position, int view = 0) {
  return view_key(position, view).draws(Purpose::kCrop);
}

Image gradient(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (const int value : {255 * x / width, 255 * y / height, (x * 7 + y * 13) % 256})
        image.rgb.push_back(static_cast<std::uint8_t>(value));
  return image;
}

std::vector<std::uint8_t> trained(const Image& image, const AugmentConfig& config, int size, const ViewKey& key) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(size * size * 3));
  training_view(image, config, size, key, out);
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
  for (std::int64_t position = 0; position < 2000; ++position) {
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
    auto draws = view_draws(i, 1);
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

/// A recipe with crops that differ.
template <class Recipe>
Recipe wide() {
  Recipe recipe;
  recipe.scale = {0.1, 1.0};
  return recipe;
}

TEST(TrainingView, IsAFunctionOfItsKey) {
  const Image image = gradient(120, 80);
  auto clip = wide<ClipAugment>();
  clip.flip = 0.5;
  for (const AugmentConfig& config :
       {AugmentConfig(clip), AugmentConfig(TclAugment{}), AugmentConfig(ImagenetAugment{})}) {
    const auto first = trained(image, config, 32, {1, 5, 0});
    EXPECT_EQ(first, trained(image, config, 32, {1, 5, 0}));
    EXPECT_NE(first, trained(image, config, 32, {1, 6, 0}));
    EXPECT_NE(first, trained(image, config, 32, {1, 5, 1}));
    EXPECT_NE(first, trained(image, config, 32, {2, 5, 0}));
  }
}

TEST(TrainingView, CropsThenFlips) {
  const Image image = gradient(120, 80);
  auto config = wide<ClipAugment>();
  int flips = 0;
  for (std::int64_t position = 0; position < 400; ++position) {
    config.flip = 0;
    const auto straight = trained(image, config, 16, view_key(position));
    auto draws = view_draws(position);
    const Box box = random_resized_crop({120, 80}, config.scale, config.ratio, draws);
    std::vector<std::uint8_t> expected(16 * 16 * 3);
    resize_bicubic(image, box, {16, 16}, {0, 0, 16, 16}, false, expected);
    ASSERT_EQ(straight, expected);
    config.flip = 1;
    const auto mirrored = trained(image, config, 16, view_key(position));
    for (std::size_t y = 0; y < 16; ++y)
      for (std::size_t x = 0; x < 16; ++x) ASSERT_EQ(mirrored[(y * 16 + x) * 3], straight[(y * 16 + 15 - x) * 3]);
    config.flip = 0.25;
    flips += trained(image, config, 16, view_key(position)) == mirrored;
  }
  EXPECT_NEAR(flips, 100, 30);
}

TEST(TrainingView, WithoutRecipeNothingIsDrawn) {
  const Image image = gradient(50, 70);
  NoAugment config;
  for (const char* resize : {"crop", "stretch"}) {
    config.resize = resize;
    std::vector<std::uint8_t> expected(24 * 24 * 3);
    test_view(image, resize, 24, expected);
    EXPECT_EQ(trained(image, config, 24, view_key(1)), expected);
    EXPECT_EQ(trained(image, config, 24, view_key(2)), expected);
  }
  std::vector<std::uint8_t> small(10);
  EXPECT_THROW(test_view(image, "crop", 24, small), std::invalid_argument);
}

/// Switched off, tcl and imagenet are crop and flip alone; each part changes views, and only by its own draws.
TEST(TrainingView, PartsCanBeSwitchedAlone) {
  const Image image = gradient(120, 80);
  TclAugment off;
  off.color_jitter.probability = off.grayscale = off.blur.probability = 0;
  off.rand_augment.operations = 0;
  ImagenetAugment bare;
  bare.rand_augment.operations = 0;
  bare.erasing.probability = 0;
  bare.scale = off.scale;
  auto clip = wide<ClipAugment>();
  clip.scale = off.scale;
  clip.flip = 0.5;
  auto grey = off, blurred = off, jittered = off;
  grey.grayscale = blurred.blur.probability = jittered.color_jitter.probability = 1;
  auto erased = bare;
  erased.erasing.probability = 1;
  for (std::int64_t position = 0; position < 20; ++position) {
    const auto key = view_key(position);
    const auto plain = trained(image, clip, 32, key);
    EXPECT_EQ(trained(image, off, 32, key), plain);
    EXPECT_EQ(trained(image, bare, 32, key), plain);
    auto expected = plain;
    grayscale(Pixels{expected.data(), 32, 32});
    EXPECT_EQ(trained(image, grey, 32, key), expected);
    EXPECT_NE(trained(image, blurred, 32, key), plain);
    EXPECT_NE(trained(image, jittered, 32, key), plain);
    EXPECT_NE(trained(image, erased, 32, key), plain);
  }
}

TEST(TrainingView, TclAppliesItsPartsInOrder) {
  const Image image = gradient(120, 80);
  TclAugment config;
  config.color_jitter.probability = config.grayscale = config.blur.probability = config.rand_augment.probability = 1;
  for (std::int64_t position = 0; position < 20; ++position) {
    const auto key = view_key(position);
    auto clip = wide<ClipAugment>();
    clip.scale = config.scale;
    clip.flip = config.flip;
    auto expected = trained(image, clip, 32, key);
    const Pixels pixels{expected.data(), 32, 32};
    auto colors = key.draws(Purpose::kColor), operations = key.draws(Purpose::kOperation);
    colors.uniform();
    const auto jitter = draw_color_jitter(config.color_jitter, colors);
    colors.uniform();
    colors.uniform();
    apply(jitter, pixels);
    grayscale(pixels);
    gaussian_blur(pixels, static_cast<float>(0.1 + 1.9 * colors.uniform()));
    rand_augment(config.rand_augment, operations, pixels);
    EXPECT_EQ(trained(image, config, 32, key), expected) << position;
  }
}

TEST(TestGeometry, TakesTheMiddleOrEverything) {
  // 50 x 70 to 24 x 33 (33.6 cut off), rows 4 .. 27 (4.5 rounds to even).
  const Image image = gradient(50, 70);
  std::vector<std::uint8_t> view(24 * 24 * 3), all(24 * 33 * 3);
  test_view(image, "crop", 24, view);
  resize_bicubic(image, Box{0, 0, 50, 70}, {24, 33}, {0, 0, 24, 33}, false, all);
  EXPECT_TRUE(std::equal(view.begin(), view.end(), all.begin() + 4 * 24 * 3));
  const auto stretched = test_geometry({50, 70}, "stretch", 24);
  EXPECT_EQ(stretched.region, (Box{0, 0, 50, 70}));
  EXPECT_EQ(stretched.scaled.width, 24);
  EXPECT_EQ(stretched.scaled.height, 24);
}

/// torchvision's Resize(30) and CenterCrop(24): 50 x 70 to 30 x 42, columns 3 .. 26, rows 9 .. 32.
TEST(TestGeometry, CutsFromALargerShortSide) {
  const Image image = gradient(50, 70);
  std::vector<std::uint8_t> view(24 * 24 * 3), all(30 * 42 * 3);
  test_view(image, "crop", 24, view, 30);
  resize_bicubic(image, Box{0, 0, 50, 70}, {30, 42}, {0, 0, 30, 42}, false, all);
  for (std::ptrdiff_t y = 0; y < 24; ++y) {
    const auto row = all.begin() + ((y + 9) * 30 + 3) * 3;
    ASSERT_TRUE(std::equal(row, row + 24 * 3, view.begin() + y * 24 * 3)) << y;
  }
  const auto imagenet = test_geometry({500, 375}, "crop", 224, 256);  // 341.33 is cut off, 58.5 rounds to even
  EXPECT_EQ(imagenet.scaled.width, 341);
  EXPECT_EQ(imagenet.window, (Box{58, 16, 224, 224}));
}

// ---- erasing -------------------------------------------------------------------------------------------------------

TEST(Erasing, BoxesFollowTheRule) {
  const ErasingConfig config;
  double area = 0, log_ratio = 0;
  int boxes = 0;
  const int n = 40000;
  for (int i = 0; i < n; ++i) {
    auto draws = view_key(i).draws(Purpose::kErasing);
    const auto box = draw_erasing(config, {224, 224}, draws);
    if (!box) continue;
    ++boxes;
    ASSERT_TRUE(box->x >= 0 && box->y >= 0 && box->x + box->width <= 224 && box->y + box->height <= 224);
    const double share = box->width * box->height / (224.0 * 224);
    ASSERT_GT(share, 0.018);
    ASSERT_LT(share, 0.34);
    area += share;
    log_ratio += std::log(static_cast<double>(box->height) / box->width);
  }
  EXPECT_NEAR(boxes, n / 4, 300);
  EXPECT_NEAR(area / boxes, (0.02 + 1.0 / 3) / 2, 0.003);  // few boxes do not fit: the largest of the longest
  EXPECT_NEAR(log_ratio / boxes, 0, 0.03);
}

TEST(Erasing, FillsItsBoxOnly) {
  const ImagenetAugment config;
  const auto statistics = config.statistics();
  std::vector<std::uint8_t> view(100 * 100 * 3, 7);
  auto draws = view_key(0).draws(Purpose::kErasing);
  erase(Pixels{view.data(), 100, 100}, {10, 20, 70, 60}, "noise", statistics, draws);
  double sum[3] = {}, squares[3] = {};
  for (int y = 0; y < 100; ++y) {
    for (int x = 0; x < 100; ++x) {
      const bool inside = x >= 10 && x < 80 && y >= 20 && y < 80;
      for (std::size_t c = 0; c < 3; ++c) {
        const double value = view[static_cast<std::size_t>(y * 100 + x) * 3 + c];
        if (!inside) {
          ASSERT_EQ(value, 7);
          continue;
        }
        const double z = (value / 255 - statistics.mean[c]) / statistics.std[c];
        sum[c] += z / 4200;
        squares[c] += z * z / 4200;
      }
    }
  }
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(sum[c], 0, 0.06);
    EXPECT_NEAR(squares[c], 1, 0.1);  // a little less than 1 by clipping
  }
  erase(Pixels{view.data(), 100, 100}, {10, 20, 70, 60}, "mean", statistics, draws);
  EXPECT_EQ(view[(50 * 100 + 50) * 3], 124);
  EXPECT_EQ(view[(50 * 100 + 50) * 3 + 1], 116);
  EXPECT_EQ(view[(50 * 100 + 50) * 3 + 2], 104);
}

// ---- mixing --------------------------------------------------------------------------------------------------------

RandomStream mix_draws(std::uint64_t position) {
  return RandomStream(random_key(1, Purpose::kMix, {position}));
}

TEST(Mix, BetaHasItsMoments) {
  for (const double alpha : {0.2, 0.8, 1.0, 3.0}) {
    double mean = 0, square = 0;
    const int n = 40000;
    RandomStream draws(random_key(5, Purpose::kTest));
    for (int i = 0; i < n; ++i) {
      const double x = draw_beta(alpha, draws);
      ASSERT_TRUE(x >= 0 && x <= 1);
      mean += x / n;
      square += x * x / n;
    }
    EXPECT_NEAR(mean, 0.5, 0.01) << alpha;
    EXPECT_NEAR(square - mean * mean, 1 / (4 * (2 * alpha + 1)), 0.004) << alpha;
  }
}

TEST(Mix, PartnersAreOneCycle) {
  MixConfig config;
  config.mixup_alpha = 0.8;
  for (const std::int64_t rows : {2, 3, 8, 65}) {
    auto draws = mix_draws(static_cast<std::uint64_t>(rows));
    const auto plan = draw_mix(config, rows, {8, 8}, draws);
    std::int64_t row = 0, steps = 0;
    do {
      row = plan.partner[static_cast<std::size_t>(row)];
      ++steps;
    } while (row != 0 && steps <= rows);
    EXPECT_EQ(steps, rows);
  }
  auto draws = mix_draws(0);
  EXPECT_THROW(draw_mix(config, 1, {8, 8}, draws), std::invalid_argument);
}

TEST(Mix, RowsAreWeightedSums) {
  MixConfig config;
  config.mixup_alpha = 0.8;
  std::vector<std::uint8_t> before(3 * 2 * 4 * 4 * 3);
  for (std::size_t i = 0; i < before.size(); ++i) before[i] = static_cast<std::uint8_t>(i * 37 % 251);
  for (std::uint64_t position = 0; position < 50; ++position) {
    auto draws = mix_draws(position);
    const auto plan = draw_mix(config, 3, {4, 4}, draws);
    EXPECT_EQ(plan.box.width, 0);
    auto after = before;
    mix_rows(plan, {4, 4}, after);
    for (std::size_t i = 0; i < after.size(); ++i) {
      const auto row = i / 96, other = static_cast<std::size_t>(plan.partner[row]) * 96 + i % 96;
      ASSERT_NEAR(after[i], plan.weight * before[i] + (1 - plan.weight) * before[other], 0.501);
    }
  }
}

TEST(Mix, BoxesArePastedAndTheWeightIsWhatIsLeft) {
  MixConfig config;
  config.cutmix_alpha = 1;
  const int side = 12, bytes = 2 * side * side * 3;  // two views
  std::vector<std::uint8_t> before(static_cast<std::size_t>(4 * bytes));
  for (std::size_t row = 0; row < 4; ++row)
    std::fill_n(before.begin() + static_cast<std::ptrdiff_t>(row) * bytes, bytes, static_cast<std::uint8_t>(row));
  double kept = 0;
  for (std::uint64_t position = 0; position < 400; ++position) {
    auto draws = mix_draws(position);
    const auto plan = draw_mix(config, 4, {side, side}, draws);
    auto after = before;
    mix_rows(plan, {side, side}, after);
    for (std::size_t row = 0; row < 4; ++row) {
      for (std::size_t view = 0; view < 2; ++view) {
        int own = 0, other = 0;
        for (std::size_t i = 0; i < side * side; ++i) {
          const auto value = after[row * bytes + view * bytes / 2 + 3 * i];
          own += value == row;
          other += value == plan.partner[row];
        }
        ASSERT_EQ(own + other, side * side);
        ASSERT_DOUBLE_EQ(plan.weight, own / static_cast<double>(side * side));
      }
    }
    kept += plan.weight / 400;
  }
  EXPECT_GT(kept, 0.5);  // a box of half the area on average, before it is clipped
  EXPECT_LT(kept, 0.75);
}

TEST(Mix, BothKindsByTheirShares) {
  MixConfig config;
  config.mixup_alpha = config.cutmix_alpha = 1;
  config.probability = 0.8;
  config.cutmix_share = 0.25;
  int none = 0, cut = 0;
  for (std::uint64_t position = 0; position < 4000; ++position) {
    auto draws = mix_draws(position);
    const auto plan = draw_mix(config, 4, {100, 100}, draws);
    none += plan.weight == 1 && plan.box.width == 0;
    cut += plan.box.width > 0;
  }
  EXPECT_NEAR(none, 800, 80);
  EXPECT_NEAR(cut, 800, 80);
}

}  // namespace
}  // namespace triptych

// Resizing against Pillow's bytes, and against the formula written plainly.
#include "data/image/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "core/base/random_key.h"
#include "data/image/augment.h"
#include "data/image/weighted_sum.h"
#include "tests/data/golden_file.h"

namespace triptych {
namespace {

std::vector<std::uint8_t> resized(const Image& image, Box region, Size scaled, Box window, bool flip = false) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(window.width) * static_cast<std::size_t>(window.height) * 3,
                                77);
  resize_bicubic(image, region, scaled, window, flip, out);
  return out;
}
std::vector<std::uint8_t> resized(const Image& image, Box region, Size scaled) {
  return resized(image, region, scaled, {0, 0, scaled.width, scaled.height});
}

int largest_difference(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  EXPECT_EQ(a.size(), b.size());
  int largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

Image golden_picture(const GoldenFile& golden, const std::string& name) {
  const auto& tensor = golden[name + ".rgb"];
  return {
      static_cast<int>(tensor.shape[1]), static_cast<int>(tensor.shape[0]), {tensor.bytes.begin(), tensor.bytes.end()}};
}

Image noise(int width, int height, std::uint64_t seed) {
  RandomStream draws(random_key(seed, Purpose::kTest));
  Image image{width, height,
              std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)};
  for (auto& value : image.rgb)
    value = draws.below(4) ? static_cast<std::uint8_t>(draws.below(256)) : draws.below(2) ? 255 : 0;
  return image;
}

double keys_cubic(double x) {
  x = std::abs(x);
  return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

// One axis in floating point: every output place sums all inputs under the widened kernel. [lines][in] -> [lines][out].
std::vector<double> plain_axis(const std::vector<double>& values, int lines, int in, int out) {
  const double scale = static_cast<double>(in) / out, wide = std::max(1.0, scale);
  std::vector<double> result(static_cast<std::size_t>(lines) * static_cast<std::size_t>(out));
  for (int o = 0; o < out; ++o) {
    std::vector<double> weights(static_cast<std::size_t>(in));
    double sum = 0;
    for (int i = 0; i < in; ++i)
      sum += weights[static_cast<std::size_t>(i)] = keys_cubic((i + 0.5 - (o + 0.5) * scale) / wide);
    for (int line = 0; line < lines; ++line) {
      double value = 0;
      for (int i = 0; i < in; ++i)
        value += weights[static_cast<std::size_t>(i)] / sum * values[static_cast<std::size_t>(line * in + i)];
      result[static_cast<std::size_t>(line * out + o)] = std::clamp(value, 0.0, 255.0);
    }
  }
  return result;
}

// The formula for one channel of a whole picture, horizontal pass first, without rounding.
std::vector<double> plain_resize(const Image& image, int channel, Size to) {
  std::vector<double> values;
  for (int i = 0; i < image.width * image.height; ++i)
    values.push_back(image.rgb[static_cast<std::size_t>(3 * i + channel)]);
  const auto narrow = plain_axis(values, image.height, image.width, to.width);
  std::vector<double> turned(narrow.size());
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < to.width; ++x)
      turned[static_cast<std::size_t>(x * image.height + y)] = narrow[static_cast<std::size_t>(y * to.width + x)];
  const auto low = plain_axis(turned, to.width, image.height, to.height);
  std::vector<double> result(low.size());
  for (int y = 0; y < to.height; ++y)
    for (int x = 0; x < to.width; ++x)
      result[static_cast<std::size_t>(y * to.width + x)] = low[static_cast<std::size_t>(x * to.height + y)];
  return result;
}

TEST(ResizeBicubic, GoldenBytes) {
  const GoldenFile golden("images");
  for (const auto& name : golden.names(".rgb")) {
    const Image image = golden_picture(golden, name);
    const Box whole{0, 0, image.width, image.height};
    EXPECT_EQ(largest_difference(resized(image, whole, {96, 96}), golden[name + ".stretch96"].bytes), 0) << name;
    std::vector<std::uint8_t> eval(224 * 224 * 3);
    test_view(image, "crop", 224, eval);
    EXPECT_EQ(largest_difference(eval, golden[name + ".eval224"].bytes), 0) << name;
    const auto boxes = golden.values<std::int64_t>(name + ".boxes");  // row, column, height, width
    for (std::size_t i : {0u, 1u}) {
      const Box box{static_cast<int>(boxes[4 * i + 1]), static_cast<int>(boxes[4 * i]),
                    static_cast<int>(boxes[4 * i + 3]), static_cast<int>(boxes[4 * i + 2])};
      const auto expected = golden[name + ".rrc" + std::to_string(i)].bytes;
      EXPECT_EQ(largest_difference(resized(image, box, {128, 128}), expected), 0) << name << " box " << i;
    }
    const Box box{static_cast<int>(boxes[1]), static_cast<int>(boxes[0]), static_cast<int>(boxes[3]),
                  static_cast<int>(boxes[2])};
    const auto flipped = resized(image, box, {128, 128}, {0, 0, 128, 128}, true);
    EXPECT_EQ(largest_difference(std::span(flipped).first(128 * 3), golden[name + ".rrc0_flipped_first_row"].bytes), 0)
        << name;
  }
}

TEST(ResizeBicubic, TheFormulaAtManySizes) {
  struct Case {
    Size from, to;
  };
  const Case cases[] = {{{7, 5}, {3, 2}},    {{31, 17}, {16, 33}}, {{48, 50}, {5, 7}},   {{1, 1}, {4, 3}},
                        {{2, 40}, {17, 16}}, {{64, 9}, {1, 1}},    {{33, 47}, {33, 47}}, {{200, 3}, {15, 3}}};
  for (const auto& c : cases) {
    const Image image = noise(c.from.width, c.from.height, 3);
    const auto got = resized(image, {0, 0, image.width, image.height}, c.to);
    for (int channel = 0; channel < 3; ++channel) {
      const auto expected = plain_resize(image, channel, c.to);
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(got[3 * i + static_cast<std::size_t>(channel)], expected[i], 1.3)  // two roundings to a byte
            << c.from.width << "x" << c.from.height << " to " << c.to.width << "x" << c.to.height << " at " << i;
    }
  }
}

TEST(ResizeBicubic, ARegionIsCutOutFirst) {
  const Image image = noise(61, 47, 5);
  const Box box{9, 4, 38, 29};
  Image cut{box.width, box.height, {}};
  for (int y = 0; y < box.height; ++y) {
    const auto* row = &image.rgb[static_cast<std::size_t>((box.y + y) * image.width + box.x) * 3];
    cut.rgb.insert(cut.rgb.end(), row, row + box.width * 3);
  }
  EXPECT_EQ(resized(image, box, {20, 52}), resized(cut, {0, 0, box.width, box.height}, {20, 52}));
}

TEST(ResizeBicubic, AWindowIsAPartOfTheWhole) {
  const Image image = noise(83, 59, 6);
  const Box whole{0, 0, 83, 59};
  for (const Size scaled : {Size{40, 31}, Size{190, 170}}) {
    const auto all = resized(image, whole, scaled);
    for (const Box window : {Box{0, 0, 7, 5}, Box{13, 9, 24, 22}, Box{scaled.width - 5, scaled.height - 1, 5, 1}}) {
      const auto part = resized(image, whole, scaled, window);
      const auto mirrored = resized(image, whole, scaled, window, true);
      for (int y = 0; y < window.height; ++y)
        for (int x = 0; x < window.width * 3; ++x) {
          const auto value = all[static_cast<std::size_t>(((window.y + y) * scaled.width + window.x) * 3 + x)];
          const int mirror = (window.width - 1 - x / 3) * 3 + x % 3;
          ASSERT_EQ(part[static_cast<std::size_t>(y * window.width * 3 + x)], value);
          ASSERT_EQ(mirrored[static_cast<std::size_t>(y * window.width * 3 + mirror)], value);
        }
    }
  }
}

TEST(ResizeBicubic, LongThinPicturesCostNoMoreThanTheirWindow) {
  const Image image = noise(65500, 1, 7);
  std::vector<std::uint8_t> out(224 * 224 * 3);
  test_view(image, "crop", 224, out);  // scaled to 14,672,000 x 224
  EXPECT_EQ(std::vector(out.begin(), out.begin() + 672), std::vector(out.end() - 672, out.end()));  // one row, repeated
  test_view(image, "stretch", 224, out);
  const double mean = std::accumulate(out.begin(), out.end(), 0.0) / static_cast<double>(out.size());
  EXPECT_NEAR(mean, 127.5, 3);
}

TEST(WeightedSum, EveryInstructionSetGivesTheSameBytes) {
  const auto kernels = weighted_sum_kernels();
  ASSERT_STREQ(kernels.back().instruction_set, "portable");
  RandomStream draws(random_key(9, Purpose::kTest));
  std::vector<std::uint8_t> source(70 * 64);
  for (int trial = 0; trial < 500; ++trial) {
    for (auto& value : source) value = draws.below(3) ? static_cast<std::uint8_t>(draws.below(256)) : 255;
    std::vector<std::int32_t> weights(static_cast<std::size_t>(draws.below(30)));
    for (auto& weight : weights) weight = static_cast<std::int32_t>(draws.below(1 << 19)) - (1 << 18);
    const std::ptrdiff_t step = 48 + draws.below(20);
    std::vector<std::uint8_t> expected(kSumLanes), got(kSumLanes);
    kernels.back().run(source.data(), step, weights.data(), static_cast<int>(weights.size()), expected.data());
    for (const auto& kernel : kernels) {
      kernel.run(source.data(), step, weights.data(), static_cast<int>(weights.size()), got.data());
      ASSERT_EQ(got, expected) << kernel.instruction_set;
    }
  }
}

TEST(ResizeBicubic, RefusesBoxesThatLeaveTheirPicture) {
  const Image image = noise(10, 8, 8);
  std::vector<std::uint8_t> out(4 * 4 * 3);
  const Box whole{0, 0, 10, 8}, all{0, 0, 4, 4};
  for (const Box box : {Box{-1, 0, 5, 5}, Box{0, 0, 11, 8}, Box{0, 7, 3, 2}, Box{0, 0, 0, 3}, Box{2147483647, 0, 5, 5}})
    EXPECT_THROW(resize_bicubic(image, box, {4, 4}, all, false, out), std::invalid_argument);
  EXPECT_THROW(resize_bicubic(image, whole, {4, 4}, {1, 0, 4, 4}, false, out), std::invalid_argument);
  EXPECT_THROW(resize_bicubic(image, whole, {4, 4}, {0, 0, 3, 4}, false, out), std::invalid_argument);
  EXPECT_NO_THROW(resize_bicubic(image, whole, {4, 4}, all, false, out));
}

}  // namespace
}  // namespace triptych

// Operations on pictures against the numbers of the reference libraries: tcl_augment (TCL's code, torchvision, Pillow)
// and timm_augment (tests/golden/make_augment.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "data/image/blur.h"
#include "data/image/color.h"
#include "data/image/color_jitter.h"
#include "data/image/rand_augment.h"
#include "data/image/resize.h"
#include "data/image/tone.h"
#include "tests/data/golden_file.h"

namespace triptych {
namespace {

constexpr int kWidth = 96, kHeight = 72;
constexpr std::array<std::uint8_t, 3> kFill = {124, 116, 104};
using Bytes = std::vector<std::uint8_t>;

const GoldenFile& tcl() {
  static const GoldenFile file("tcl_augment");
  return file;
}

struct Difference {
  int largest = 0;
  double mean = 0;
  int pixels = 0;  // bytes that differ
};

Difference difference(const Bytes& got, std::span<const unsigned char> expected) {
  EXPECT_EQ(got.size(), expected.size());
  Difference result;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const int apart = std::abs(got[i] - expected[i]);
    result.largest = std::max(result.largest, apart);
    result.mean += apart;
    result.pixels += apart > 0;
  }
  result.mean /= static_cast<double>(got.size());
  return result;
}

template <class Operation>
Bytes changed(const std::string& picture, Operation&& operation) {
  auto bytes = tcl().values<std::uint8_t>(picture + ".in");
  operation(Pixels{bytes.data(), kWidth, kHeight});
  return bytes;
}

template <class Operation>
void expect_equal(const std::string& picture, const std::string& result, Operation&& operation) {
  const auto apart = difference(changed(picture, operation), tcl()[picture + "." + result].bytes);
  EXPECT_EQ(apart.largest, 0) << picture << "." << result << ": " << apart.pixels << " bytes differ, mean "
                              << apart.mean;
}

TEST(Flip, GoldenBytes) {
  for (const std::string picture : {"vivid", "dull"}) {
    const Image image{kWidth, kHeight, tcl().values<std::uint8_t>(picture + ".in")};
    Bytes flipped(image.rgb.size());
    resize_bicubic(image, Box{0, 0, kWidth, kHeight}, {kWidth, kHeight}, {0, 0, kWidth, kHeight}, true, flipped);
    EXPECT_EQ(difference(flipped, tcl()[picture + ".flip"].bytes).largest, 0) << picture;
  }
}

TEST(Color, JitterOfTorchvisionToTheByte) {
  for (const std::string picture : {"vivid", "dull"}) {
    for (const auto& [text, factor] : std::map<std::string, float>{{"0.6", 0.6f}, {"1.4", 1.4f}}) {
      expect_equal(picture, "brightness." + text, [&](Pixels p) { adjust_brightness(p, factor); });
      expect_equal(picture, "contrast." + text, [&](Pixels p) { adjust_contrast(p, factor); });
      expect_equal(picture, "saturation." + text, [&](Pixels p) { adjust_saturation(p, factor); });
    }
    expect_equal(picture, "hue.-0.1", [](Pixels p) { adjust_hue(p, -0.1); });
    expect_equal(picture, "hue.0.07", [](Pixels p) { adjust_hue(p, 0.07); });
    expect_equal(picture, "grayscale", grayscale);
  }
}

TEST(Color, FactorOneAndNoTurnChangeLittle) {
  const auto same = [](const std::string& name, auto operation, int bound) {
    EXPECT_LE(difference(changed("vivid", operation), tcl()["vivid.in"].bytes).largest, bound) << name;
  };
  same(
      "brightness", [](Pixels p) { adjust_brightness(p, 1); }, 0);
  same(
      "contrast", [](Pixels p) { adjust_contrast(p, 1); }, 0);
  same(
      "saturation", [](Pixels p) { adjust_saturation(p, 1); }, 0);
  same(
      "sharpness", [](Pixels p) { adjust_sharpness(p, 1); }, 0);
  same(
      "hue", [](Pixels p) { adjust_hue(p, 0); }, 8);  // 8 bits of hue and saturation do not hold all colours
}

TEST(Blur, PillowsGaussianToTheByte) {
  for (const std::string picture : {"vivid", "dull"}) {
    for (const auto& [text, radius] :
         std::map<std::string, float>{{"0.1", 0.1f}, {"0.5", 0.5f}, {"1.0", 1.0f}, {"2.0", 2.0f}}) {
      expect_equal(picture, "blur." + text, [&](Pixels p) { gaussian_blur(p, radius); });
    }
  }
}

TEST(Blur, ReachesBeyondSmallPictures) {
  Bytes one = {7, 8, 9};
  gaussian_blur(Pixels{one.data(), 1, 1}, 5);
  EXPECT_EQ(one, (Bytes{7, 8, 9}));
  Bytes row = {0, 0, 0, 255, 255, 255};
  gaussian_blur(Pixels{row.data(), 2, 1}, 50);
  EXPECT_NEAR(row[0], 127, 4);
  EXPECT_NEAR(row[3], 128, 4);
}

// ---- TCL's RandAugment ---------------------------------------------------------------------------------------------

struct TclCase {
  const char* name;
  TclOperation operation;
  int sign;
};
constexpr TclCase kTclExact[] = {
    {"AutoContrast", TclOperation::kAutoContrast, 1},    {"Equalize", TclOperation::kEqualize, 1},
    {"Brightness", TclOperation::kBrightness, 1},        {"TranslateX_plus", TclOperation::kTranslateX, 1},
    {"TranslateX_minus", TclOperation::kTranslateX, -1}, {"TranslateY_plus", TclOperation::kTranslateY, 1},
    {"TranslateY_minus", TclOperation::kTranslateY, -1}};
constexpr TclCase kTclWarps[] = {
    {"ShearX_plus", TclOperation::kShearX, 1}, {"ShearX_minus", TclOperation::kShearX, -1},
    {"ShearY_plus", TclOperation::kShearY, 1}, {"ShearY_minus", TclOperation::kShearY, -1},
    {"Rotate_plus", TclOperation::kRotate, 1}, {"Rotate_minus", TclOperation::kRotate, -1}};

TEST(TclRandAugment, OperationsAtMagnitudeSeven) {
  for (const std::string picture : {"vivid", "dull", "flat"}) {
    for (const auto& c : kTclExact)
      expect_equal(picture, std::string("ra.") + c.name, [&](Pixels p) { apply(c.operation, 7, c.sign, true, p); });
    for (const auto& c : kTclWarps) {
      const auto& expected = tcl()[picture + ".ra." + c.name].bytes;
      const auto got = changed(picture, [&](Pixels p) { apply(c.operation, 7, c.sign, true, p); });
      const auto apart = difference(got, expected);
      EXPECT_LE(apart.mean, 0.006) << picture << " " << c.name;  // with coordinates rounded to 1/32 pixel: 0.06
      EXPECT_LE(apart.largest, 1) << picture << " " << c.name;
      const auto wrong = changed(picture, [&](Pixels p) { apply(c.operation, 7, -c.sign, true, p); });
      EXPECT_GT(difference(wrong, expected).mean, 3) << picture << " " << c.name;
    }
  }
}

TEST(TclRandAugment, AutoContrastAsMeant) {
  const auto stretched = changed("dull", [](Pixels p) { apply(TclOperation::kAutoContrast, 7, 1, false, p); });
  EXPECT_EQ(stretched, changed("dull", [](Pixels p) { apply(TimmOperation::kAutoContrast, 7, 1, kFill, p); }));
  EXPECT_EQ(*std::min_element(stretched.begin(), stretched.end()), 0);
}

// TCL's cast lets a value below 0 or above 255 wrap; here it is clipped. All other bytes are equal.
TEST(TclRandAugment, SharpnessButForWrappedBytes) {
  for (const std::string picture : {"vivid", "dull", "flat"}) {
    const auto got = changed(picture, [](Pixels p) { apply(TclOperation::kSharpness, 7, 1, true, p); });
    const auto expected = tcl()[picture + ".ra.Sharpness"].bytes;
    int clipped = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (got[i] == expected[i]) continue;
      EXPECT_TRUE((got[i] == 0 && expected[i] > 200) || (got[i] == 255 && expected[i] < 50)) << picture << " " << i;
      ++clipped;
    }
    EXPECT_LT(clipped, 200) << picture;
  }
}

TEST(TclRandAugment, IdentityChangesNothing) {
  EXPECT_EQ(changed("vivid", [](Pixels p) { apply(TclOperation::kIdentity, 7, 1, true, p); }),
            tcl().values<std::uint8_t>("vivid.in"));
}

// ---- timm's RandAugment --------------------------------------------------------------------------------------------

const std::map<std::string, TimmOperation> kTimmNames = {{"auto_contrast", TimmOperation::kAutoContrast},
                                                         {"equalize", TimmOperation::kEqualize},
                                                         {"invert", TimmOperation::kInvert},
                                                         {"rotate", TimmOperation::kRotate},
                                                         {"posterize", TimmOperation::kPosterize},
                                                         {"solarize", TimmOperation::kSolarize},
                                                         {"solarize_add", TimmOperation::kSolarizeAdd},
                                                         {"color", TimmOperation::kColor},
                                                         {"contrast", TimmOperation::kContrast},
                                                         {"brightness", TimmOperation::kBrightness},
                                                         {"sharpness", TimmOperation::kSharpness},
                                                         {"shear_x", TimmOperation::kShearX},
                                                         {"shear_y", TimmOperation::kShearY},
                                                         {"translate_x", TimmOperation::kTranslateX},
                                                         {"translate_y", TimmOperation::kTranslateY}};

TEST(TimmRandAugment, OperationsAsPillowMakesThem) {
  const GoldenFile golden("timm_augment");
  std::size_t met = 0;
  for (const auto& name : golden.names("")) {
    const auto dot = name.find('.'), second = name.find('.', dot + 1), last = name.rfind('.');
    const auto operation = kTimmNames.at(name.substr(dot + 1, second - dot - 1));
    const double magnitude = std::stod(name.substr(second + 1, last - second - 1));
    const int sign = std::stoi(name.substr(last + 1));
    const auto got = changed(name.substr(0, dot), [&](Pixels p) { apply(operation, magnitude, sign, kFill, p); });
    const auto apart = difference(got, golden[name].bytes);
    EXPECT_EQ(apart.largest, 0) << name << ": " << apart.pixels << " bytes differ, mean " << apart.mean;
    ++met;
  }
  EXPECT_EQ(met, 4U * (15 + 9));
}

TEST(TimmRandAugment, DrawsEveryOperationAndMagnitude) {
  // Only the count and the probability decide how often a picture stays as it is: 0.5 ^ 2 (no operation applied).
  TimmRandAugmentConfig config;
  int same = 0;
  const int n = 400;
  const auto before = tcl().values<std::uint8_t>("vivid.in");
  for (int i = 0; i < n; ++i) {
    RandomStream draws(random_key(9, Purpose::kTest, {static_cast<std::uint64_t>(i)}));
    same += changed("vivid", [&](Pixels p) { rand_augment(config, kFill, draws, p); }) == before;
  }
  EXPECT_NEAR(same, n / 4, 45);
  config.probability = 0;
  RandomStream draws(1);
  EXPECT_EQ(changed("vivid", [&](Pixels p) { rand_augment(config, kFill, draws, p); }), before);
}

TEST(TclRandAugment, IsAFunctionOfItsStream) {
  const TclRandAugmentConfig config;
  const auto drawn = [&](std::uint64_t key) {
    RandomStream draws(random_key({key}));
    return changed("vivid", [&](Pixels p) { rand_augment(config, draws, p); });
  };
  std::set<Bytes> all;
  for (std::uint64_t key = 0; key < 100; ++key) {
    EXPECT_EQ(drawn(key), drawn(key));
    all.insert(drawn(key));
  }
  EXPECT_GT(all.size(), 20U);  // of ten operations at one strength
}

// ---- colour jitter -------------------------------------------------------------------------------------------------

TEST(ColorJitter, FactorsAndOrdersAreUniform) {
  const ColorJitterConfig config;
  std::map<std::array<int, 4>, int> orders;
  double sum = 0, least = 9, most = 0, hue = 0;
  const int n = 24000;
  RandomStream draws(random_key(3, Purpose::kTest));
  for (int i = 0; i < n; ++i) {
    const auto jitter = draw_color_jitter(config, draws);
    ++orders[jitter.order];
    sum += jitter.contrast / n;
    least = std::min<double>(least, jitter.brightness);
    most = std::max<double>(most, jitter.saturation);
    hue = std::max(hue, std::abs(jitter.hue));
  }
  EXPECT_NEAR(sum, 1, 0.01);
  EXPECT_NEAR(least, 0.6, 0.001);
  EXPECT_NEAR(most, 1.4, 0.001);
  EXPECT_NEAR(hue, 0.1, 0.001);
  EXPECT_EQ(orders.size(), 24U);
  for (const auto& [order, count] : orders) EXPECT_NEAR(count, n / 24, 150);
}

TEST(ColorJitter, FollowsItsOrder) {
  ColorJitter jitter{.brightness = 1.4f, .contrast = 0.6f, .saturation = 1, .hue = 0, .order = {1, 0, 2, 3}};
  EXPECT_EQ(changed("vivid", [&](Pixels p) { apply(jitter, p); }), changed("vivid", [](Pixels p) {
              adjust_contrast(p, 0.6f);
              adjust_brightness(p, 1.4f);
            }));
  const auto first = changed("vivid", [&](Pixels p) { apply(jitter, p); });
  jitter.order = {0, 1, 2, 3};
  EXPECT_NE(first, changed("vivid", [&](Pixels p) { apply(jitter, p); }));
}

TEST(Tone, ClosedForms) {
  Bytes ramp(256 * 3);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<std::uint8_t>(i / 3);
  const auto after = [&](auto operation) {
    Bytes copy = ramp;
    operation(Pixels{copy.data(), 256, 1});
    return copy;
  };
  const auto inverted = after(invert), dark = after([](Pixels p) { solarize(p, 100); }),
             added = after([](Pixels p) { solarize_add(p, 140); }), coarse = after([](Pixels p) { posterize(p, 3); });
  for (std::size_t v = 0; v < 256; ++v) {
    EXPECT_EQ(inverted[3 * v], 255 - v);
    EXPECT_EQ(dark[3 * v], v < 100 ? v : 255 - v);
    EXPECT_EQ(added[3 * v], v < 128 ? std::min<std::size_t>(v + 140, 255) : v);
    EXPECT_EQ(coarse[3 * v], v / 32 * 32);
  }
  EXPECT_EQ(after(equalize), ramp);
  EXPECT_EQ(after(auto_contrast), ramp);
  EXPECT_EQ(after([](Pixels p) { posterize(p, 0); }), Bytes(256 * 3, 0));
  EXPECT_EQ(after([](Pixels p) { posterize(p, 8); }), ramp);
}

}  // namespace
}  // namespace triptych

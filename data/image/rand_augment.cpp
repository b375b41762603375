// Both variants: what a magnitude means, and how operations are drawn.
#include "data/image/rand_augment.h"

#include <algorithm>

#include "data/image/color.h"
#include "data/image/tone.h"
#include "data/image/warp.h"

namespace triptych {
namespace {

constexpr std::uint8_t kTclFill = 128;

AffineMap shear_x(double amount) {
  return {.xy = amount};
}
AffineMap shear_y(double amount) {
  return {.yx = amount};
}
AffineMap translate(double x, double y) {
  return {.x0 = x, .y0 = y};
}
AffineMap rotate(double degrees, Pixels pixels) {
  return rotation(degrees, pixels.width / 2.0, pixels.height / 2.0);
}

int draw_sign(RandomStream& draws) {
  return draws.uniform() < 0.5 ? 1 : -1;
}

}  // namespace

void apply(TclOperation operation, double magnitude, int sign, bool wraps, Pixels pixels) {
  const auto factor = static_cast<float>(magnitude / 10 * 1.8 + 0.1);
  const double amount = sign * magnitude / 10;
  switch (operation) {
    case TclOperation::kIdentity:
      return;
    case TclOperation::kAutoContrast:
      return wraps ? auto_contrast_wrapping(pixels) : auto_contrast(pixels);
    case TclOperation::kEqualize:
      return equalize(pixels);
    case TclOperation::kBrightness:
      return adjust_brightness(pixels, factor);
    case TclOperation::kSharpness:
      return adjust_sharpness(pixels, factor);
    case TclOperation::kShearX:  // OpenCV is told where pixels go to, hence the minus
      return warp_bilinear(pixels, shear_x(-0.3 * amount), kTclFill);
    case TclOperation::kShearY:
      return warp_bilinear(pixels, shear_y(-0.3 * amount), kTclFill);
    case TclOperation::kTranslateX:
      return warp_bilinear(pixels, translate(10 * amount, 0), kTclFill);
    case TclOperation::kTranslateY:
      return warp_bilinear(pixels, translate(0, 10 * amount), kTclFill);
    case TclOperation::kRotate:
      return warp_bilinear(pixels, rotate(30 * amount, pixels), kTclFill);
  }
}

void apply(TimmOperation operation, double magnitude, int sign, std::array<std::uint8_t, 3> fill, Pixels pixels) {
  const double amount = sign * magnitude / 10;
  const auto factor = static_cast<float>(std::max(0.1, 1 + 0.9 * amount));
  switch (operation) {
    case TimmOperation::kAutoContrast:
      return auto_contrast(pixels);
    case TimmOperation::kEqualize:
      return equalize(pixels);
    case TimmOperation::kInvert:
      return invert(pixels);
    case TimmOperation::kPosterize:
      return posterize(pixels, 4 - static_cast<int>(magnitude / 10 * 4));
    case TimmOperation::kSolarize:
      return solarize(pixels, 256 - static_cast<int>(magnitude / 10 * 256));
    case TimmOperation::kSolarizeAdd:
      return solarize_add(pixels, static_cast<int>(magnitude / 10 * 110));
    case TimmOperation::kColor:
      return adjust_saturation(pixels, factor);
    case TimmOperation::kContrast:
      return adjust_contrast(pixels, factor);
    case TimmOperation::kBrightness:
      return adjust_brightness(pixels, factor);
    case TimmOperation::kSharpness:
      return adjust_sharpness(pixels, factor);
    case TimmOperation::kRotate:
      if (amount == 0) return;  // Pillow does not resample then
      return warp_bicubic(pixels, rotate(30 * amount, pixels), fill);
    case TimmOperation::kShearX:
      return warp_bicubic(pixels, shear_x(0.3 * amount), fill);
    case TimmOperation::kShearY:
      return warp_bicubic(pixels, shear_y(0.3 * amount), fill);
    case TimmOperation::kTranslateX:
      return warp_bicubic(pixels, translate(0.45 * amount * pixels.width, 0), fill);
    case TimmOperation::kTranslateY:
      return warp_bicubic(pixels, translate(0, 0.45 * amount * pixels.height), fill);
  }
}

void rand_augment(const TclRandAugmentConfig& config, RandomStream& draws, Pixels pixels) {
  for (std::int64_t i = 0; i < config.operations; ++i) {
    const auto operation = static_cast<TclOperation>(draws.below(kTclOperations));
    const bool applied = draws.uniform() < config.probability;
    const int sign = draw_sign(draws);
    if (applied) apply(operation, config.magnitude, sign, config.wrapping_autocontrast, pixels);
  }
}

void rand_augment(const TimmRandAugmentConfig& config, std::array<std::uint8_t, 3> fill, RandomStream& draws,
                  Pixels pixels) {
  for (std::int64_t i = 0; i < config.operations; ++i) {
    const auto operation = static_cast<TimmOperation>(draws.below(kTimmOperations));
    const bool applied = draws.uniform() < config.probability;
    const int sign = draw_sign(draws);
    const double magnitude = std::clamp(config.magnitude + config.magnitude_std * draws.normal(), 0.0, 10.0);
    if (applied) apply(operation, magnitude, sign, fill, pixels);
  }
}

}  // namespace triptych

// RandAugment (Cubuk et al., arXiv:1909.13719) in the two variants that the published methods use.
#pragma once
#include <array>
#include <string_view>

#include "core/base/random_key.h"
#include "data/image/augment_config.h"
#include "data/image/pixels.h"

namespace triptych {

enum class TclOperation {
  kIdentity,
  kAutoContrast,
  kEqualize,
  kBrightness,
  kSharpness,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate,
};
inline constexpr int kTclOperations = 10;

enum class TimmOperation {
  kAutoContrast,
  kEqualize,
  kInvert,
  kRotate,
  kPosterize,
  kSolarize,
  kSolarizeAdd,
  kColor,
  kContrast,
  kBrightness,
  kSharpness,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
};
inline constexpr int kTimmOperations = 15;

/// One of TCL's operations at `magnitude` (0 .. 10) in the direction `sign` (1 or -1, used by the last five): factor
/// 0.1 + 0.18 m; shear 0.03 m; translate m pixels, content to the left (up) for +1; rotate 3 m degrees
/// counter-clockwise. Warps are OpenCV's, outside is grey 128. Sharpness clips, where TCL's cast to bytes wraps.
/// `wraps` chooses auto_contrast_wrapping.
void apply(TclOperation operation, double magnitude, int sign, bool wraps, Pixels pixels);

/// One of timm's "increasing" operations at `magnitude` (0 .. 10): factor max(0.1, 1 + sign 0.09 m); posterize keeps
/// 4 - floor(0.4 m) bits; solarize from 256 - floor(25.6 m); solarize_add floor(11 m); shear 0.03 m; translate 0.045 m
/// of the side; rotate 3 m degrees. Warps are Pillow's bicubic, outside is `fill`.
void apply(TimmOperation operation, double magnitude, int sign, std::array<std::uint8_t, 3> fill, Pixels pixels);

/// Draws config.operations with replacement; each is then applied with config.probability.
void rand_augment(const TclRandAugmentConfig& config, RandomStream& draws, Pixels pixels);
/// The same; the magnitude of each is normal around config.magnitude, kept in [0, 10].
void rand_augment(const TimmRandAugmentConfig& config, std::array<std::uint8_t, 3> fill, RandomStream& draws,
                  Pixels pixels);

}  // namespace triptych

// torchvision's ColorJitter as draws and operations.
#pragma once
#include <array>

#include "core/base/random_key.h"
#include "data/image/augment_config.h"
#include "data/image/pixels.h"

namespace triptych {

/// What one view gets: factors around 1, a turn of the hue, and the order of the four (0 brightness, 1 contrast,
/// 2 saturation, 3 hue).
struct ColorJitter {
  float brightness = 1, contrast = 1, saturation = 1;
  double hue = 0;
  std::array<int, 4> order = {0, 1, 2, 3};
};

ColorJitter draw_color_jitter(const ColorJitterConfig& config, RandomStream& draws);
void apply(const ColorJitter& jitter, Pixels pixels);

}  // namespace triptych

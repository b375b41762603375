// Four adjustments in a drawn order.
#include "data/image/color_jitter.h"

#include <algorithm>

#include "data/image/color.h"

namespace triptych {

ColorJitter draw_color_jitter(const ColorJitterConfig& config, RandomStream& draws) {
  const auto factor = [&](double range) {
    return static_cast<float>(draws.uniform(std::max(0.0, 1 - range), 1 + range));
  };
  ColorJitter jitter;
  for (std::size_t i = 4; i > 1; --i)  // a permutation by exchanges
    std::swap(jitter.order[i - 1], jitter.order[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(i)))]);
  jitter.brightness = factor(config.brightness);
  jitter.contrast = factor(config.contrast);
  jitter.saturation = factor(config.saturation);
  jitter.hue = draws.uniform(-config.hue, config.hue);
  return jitter;
}

void apply(const ColorJitter& jitter, Pixels pixels) {
  for (const int step : jitter.order) {
    if (step == 0 && jitter.brightness != 1) adjust_brightness(pixels, jitter.brightness);
    if (step == 1 && jitter.contrast != 1) adjust_contrast(pixels, jitter.contrast);
    if (step == 2 && jitter.saturation != 1) adjust_saturation(pixels, jitter.saturation);
    if (step == 3 && jitter.hue != 0) adjust_hue(pixels, jitter.hue);
  }
}

}  // namespace triptych

// A box of noise.
#include "data/image/erase.h"

#include <algorithm>
#include <cmath>

namespace triptych {
namespace {

constexpr int kEraseTries = 10;

std::uint8_t byte_of(double value) {
  return static_cast<std::uint8_t>(std::clamp(std::nearbyint(255 * value), 0.0, 255.0));
}

}  // namespace

std::optional<Box> draw_erasing(const ErasingConfig& config, Size view, RandomStream& draws) {
  if (draws.uniform() >= config.probability) return {};
  const double area = static_cast<double>(view.width) * view.height;
  for (int attempt = 0; attempt < kEraseTries; ++attempt) {
    const double box_area = area * draws.uniform(config.area[0], config.area[1]);
    const double ratio = std::exp(draws.uniform(std::log(config.ratio[0]), std::log(config.ratio[1])));
    const double height = std::nearbyint(std::sqrt(box_area * ratio));
    const double width = std::nearbyint(std::sqrt(box_area / ratio));
    if (width < 1 || height < 1 || width >= view.width || height >= view.height) continue;
    Box box{0, 0, static_cast<int>(width), static_cast<int>(height)};
    box.y = static_cast<int>(draws.below(view.height - box.height + 1));
    box.x = static_cast<int>(draws.below(view.width - box.width + 1));
    return box;
  }
  return {};
}

void erase(Pixels pixels, Box box, const std::string& fill, const PixelStatistics& statistics, RandomStream& draws) {
  for (int y = box.y; y < box.y + box.height; ++y) {
    std::uint8_t* at = pixels.row(y) + 3 * static_cast<std::size_t>(box.x);
    for (int x = 0; x < box.width; ++x) {
      for (std::size_t c = 0; c < 3; ++c) {
        const double noise = fill == "noise" ? draws.normal() : 0;
        *at++ = byte_of(statistics.mean[c] + statistics.std[c] * noise);
      }
    }
  }
}

}  // namespace triptych

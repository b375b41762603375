// Crops and flips.
#include "data/image/augment.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace triptych {
namespace {

constexpr int kTries = 10;

int round_half_to_even(double value) {
  return static_cast<int>(std::nearbyint(value));
}

// The whole picture where its ratio is allowed, else the central box with the nearest allowed ratio.
Box central_box(Size image, std::array<double, 2> ratio) {
  const double own = static_cast<double>(image.width) / image.height;
  Size box = image;
  if (own < ratio[0]) box.height = std::clamp(round_half_to_even(image.width / ratio[0]), 1, image.height);
  if (own > ratio[1]) box.width = std::clamp(round_half_to_even(image.height * ratio[1]), 1, image.width);
  return {(image.width - box.width) / 2, (image.height - box.height) / 2, box.width, box.height};
}

Box whole(const Image& image) {
  return {0, 0, image.width, image.height};
}

}  // namespace

Box random_resized_crop(Size image, std::array<double, 2> scale, std::array<double, 2> ratio, RandomStream& draws) {
  const double area = static_cast<double>(image.width) * image.height;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const double box_area = area * draws.uniform(scale[0], scale[1]);
    const double box_ratio = std::exp(draws.uniform(std::log(ratio[0]), std::log(ratio[1])));
    const double width = std::nearbyint(std::sqrt(box_area * box_ratio));
    const double height = std::nearbyint(std::sqrt(box_area / box_ratio));
    if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
    Box box{0, 0, static_cast<int>(width), static_cast<int>(height)};
    box.y = static_cast<int>(draws.below(image.height - box.height + 1));
    box.x = static_cast<int>(draws.below(image.width - box.width + 1));
    return box;
  }
  return central_box(image, ratio);
}

void training_view(const Image& image, const AugmentConfig& config, int size, RandomStream& draws,
                   std::span<std::uint8_t> out) {
  if (config.recipe == "none") return evaluation_view(image, size, out);
  if (config.recipe != "clip")
    throw std::invalid_argument("training_view: got the recipe '" + config.recipe + "', expected none or clip");
  const Box box = random_resized_crop({image.width, image.height}, config.scale, config.ratio, draws);
  const bool flip = draws.uniform() < config.flip;
  resize_bicubic(image, box, {size, size}, {0, 0, size, size}, flip, out);
}

void evaluation_view(const Image& image, int size, std::span<std::uint8_t> out) {
  const std::int64_t short_side = std::min(image.width, image.height);
  const auto scaled = [&](int side) {
    return side == short_side ? size : static_cast<int>(std::int64_t{size} * side / short_side);
  };
  const Size whole_size{scaled(image.width), scaled(image.height)};
  const Box window{round_half_to_even((whole_size.width - size) / 2.0),
                   round_half_to_even((whole_size.height - size) / 2.0), size, size};
  resize_bicubic(image, whole(image), whole_size, window, false, out);
}

void stretched_view(const Image& image, int size, std::span<std::uint8_t> out) {
  resize_bicubic(image, whole(image), {size, size}, {0, 0, size, size}, false, out);
}

}  // namespace triptych

// Geometry and recipes of views.
#include "data/image/augment.h"

#include <algorithm>
#include <cmath>

#include "data/image/blur.h"
#include "data/image/color.h"
#include "data/image/color_jitter.h"
#include "data/image/erase.h"
#include "data/image/rand_augment.h"

namespace triptych {
namespace {

constexpr int kCropTries = 10;

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

ViewGeometry geometry(Size picture, const NoAugment& config, int size, const ViewKey&) {
  return test_geometry(picture, config.resize, size);
}

ViewGeometry geometry(Size picture, const CropSettings& config, int size, const ViewKey& key) {
  auto draws = key.draws(Purpose::kCrop);
  const Box region = random_resized_crop(picture, config.scale, config.ratio, draws);
  return {region, {size, size}, {0, 0, size, size}, draws.uniform() < config.flip};
}

void change(const NoAugment&, const ViewKey&, Pixels) {}
void change(const ClipAugment&, const ViewKey&, Pixels) {}

// Draws are made whether they are used or not: one probability does not change what the others draw.
void change(const TclAugment& config, const ViewKey& key, Pixels pixels) {
  auto colors = key.draws(Purpose::kColor);
  const bool jittered = colors.uniform() < config.color_jitter.probability;
  const ColorJitter jitter = draw_color_jitter(config.color_jitter, colors);
  const bool grey = colors.uniform() < config.grayscale, blurred = colors.uniform() < config.blur.probability;
  const auto radius = static_cast<float>(colors.uniform(config.blur.radius[0], config.blur.radius[1]));
  if (jittered) apply(jitter, pixels);
  if (grey) grayscale(pixels);
  if (blurred) gaussian_blur(pixels, radius);
  auto operations = key.draws(Purpose::kOperation);
  rand_augment(config.rand_augment, operations, pixels);
}

void change(const ImagenetAugment& config, const ViewKey& key, Pixels pixels) {
  const PixelStatistics statistics = config.statistics();
  std::array<std::uint8_t, 3> fill;
  for (std::size_t c = 0; c < 3; ++c) fill[c] = static_cast<std::uint8_t>(round_half_to_even(255 * statistics.mean[c]));
  auto operations = key.draws(Purpose::kOperation);
  rand_augment(config.rand_augment, fill, operations, pixels);
  auto erasing = key.draws(Purpose::kErasing);
  const auto box = draw_erasing(config.erasing, {pixels.width, pixels.height}, erasing);
  if (box) erase(pixels, *box, config.erasing.fill, statistics, erasing);
}

}  // namespace

RandomStream ViewKey::draws(Purpose purpose) const {
  return RandomStream(
      random_key(seed, purpose, {static_cast<std::uint64_t>(position), static_cast<std::uint64_t>(view)}));
}

Box random_resized_crop(Size image, std::array<double, 2> scale, std::array<double, 2> ratio, RandomStream& draws) {
  const double area = static_cast<double>(image.width) * image.height;
  for (int attempt = 0; attempt < kCropTries; ++attempt) {
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

ViewGeometry training_geometry(Size picture, const AugmentConfig& config, int size, const ViewKey& key) {
  return std::visit([&](const auto& recipe) { return geometry(picture, recipe, size, key); }, config);
}

ViewGeometry test_geometry(Size picture, const std::string& resize, int size, int short_side) {
  const Box whole{0, 0, picture.width, picture.height};
  if (resize == "stretch") return {whole, {size, size}, {0, 0, size, size}};
  const std::int64_t shorter = std::min(picture.width, picture.height);
  const std::int64_t wanted = short_side > 0 ? short_side : size;
  const auto scaled = [&](int side) { return static_cast<int>(wanted * side / shorter); };
  const Size all{scaled(picture.width), scaled(picture.height)};
  const Box window{round_half_to_even((all.width - size) / 2.0), round_half_to_even((all.height - size) / 2.0), size,
                   size};
  return {whole, all, window};
}

void resize_view(const PicturePart& part, const ViewGeometry& view, std::span<std::uint8_t> out) {
  resize_bicubic(part.image, part.inside(view.region), view.scaled, view.window, view.flip, out);
}

void change_colors(const AugmentConfig& config, int size, const ViewKey& key, std::span<std::uint8_t> view) {
  std::visit([&](const auto& recipe) { change(recipe, key, Pixels{view.data(), size, size}); }, config);
}

void training_view(const Image& image, const AugmentConfig& config, int size, const ViewKey& key,
                   std::span<std::uint8_t> out) {
  const auto view = training_geometry({image.width, image.height}, config, size, key);
  resize_bicubic(image, view.region, view.scaled, view.window, view.flip, out);
  change_colors(config, size, key, out);
}

void test_view(const Image& image, const std::string& resize, int size, std::span<std::uint8_t> out, int short_side) {
  const auto view = test_geometry({image.width, image.height}, resize, size, short_side);
  resize_bicubic(image, view.region, view.scaled, view.window, view.flip, out);
}

}  // namespace triptych

// What happens to a decoded picture before it enters a batch: random resized crop and flip for training, resize and
// centre crop for evaluation. Geometry and drawing rules are torchvision's (RandomResizedCrop, Resize, CenterCrop).
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "core/base/random_key.h"
#include "data/data_config.h"
#include "data/image/decode.h"
#include "data/image/resize.h"

namespace triptych {

/// A box with a share of the area uniform in `scale` and a width/height ratio log-uniform in `ratio`, placed uniformly;
/// after ten boxes that do not fit, the largest central box whose ratio is within `ratio`. Sides round half to even.
Box random_resized_crop(Size image, std::array<double, 2> scale, std::array<double, 2> ratio, RandomStream& draws);

/// One training view into out[size][size][3], by config.recipe:
///   clip: random resized crop by config.scale and config.ratio, then a mirror image with probability config.flip;
///   none: as evaluation_view; nothing is drawn.
/// `draws` belongs to the view alone: RandomStream(random_key(seed, Purpose::kCrop, {position, view})). The crop draws
/// first, then the flip. Throws std::invalid_argument for an unknown recipe or a wrong out.size().
void training_view(const Image& image, const AugmentConfig& config, int size, RandomStream& draws,
                   std::span<std::uint8_t> out);

/// Short side to `size`, long side to floor(size * long / short), then the central size x size pixels.
void evaluation_view(const Image& image, int size, std::span<std::uint8_t> out);

/// The whole picture to size x size; the aspect ratio is not kept.
void stretched_view(const Image& image, int size, std::span<std::uint8_t> out);

}  // namespace triptych

// What happens to a picture before it enters a batch, in two steps: the geometry is drawn from the picture's size
// alone, so that no more needs to be decoded than it uses; then the view is cut, resized and changed by the recipe.
// Geometry and its drawing rules are torchvision's (RandomResizedCrop, Resize, CenterCrop).
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "core/base/random_key.h"
#include "data/image/augment_config.h"
#include "data/image/decode.h"
#include "data/image/resize.h"

namespace triptych {

/// Names the draws of one view of one sample; each purpose has a stream of its own.
struct ViewKey {
  std::uint64_t seed = 0;
  std::int64_t position = 0;
  int view = 0;
  RandomStream draws(Purpose purpose) const;
};

/// Which part of a picture becomes a view: `region` (in pixels of the whole picture) is resized to `scaled`, of which
/// `window` is the view, mirrored if `flip`.
struct ViewGeometry {
  Box region;
  Size scaled;
  Box window;
  bool flip = false;
};

/// A box with a share of the area uniform in `scale` and a width/height ratio log-uniform in `ratio`, placed uniformly;
/// after ten boxes that do not fit, the largest central box whose ratio is within `ratio`. Sides round half to even.
Box random_resized_crop(Size image, std::array<double, 2> scale, std::array<double, 2> ratio, RandomStream& draws);

/// Geometry of a training view of size x size: random resized crop, then flip; recipe none: test_geometry.
ViewGeometry training_geometry(Size picture, const AugmentConfig& config, int size, const ViewKey& key);

/// `crop`: short side to s, long side to floor(s * long / short), then the central size x size pixels; s is
/// `short_side` (at least `size`), or `size` where that is 0. `stretch`: the whole picture to size x size; the aspect
/// ratio is not kept.
ViewGeometry test_geometry(Size picture, const std::string& resize, int size, int short_side = 0);

/// Cuts and resizes, without colours. `part` must cover the region. Throws std::invalid_argument for a wrong
/// out.size().
void resize_view(const PicturePart& part, const ViewGeometry& geometry, std::span<std::uint8_t> out);

/// The recipe's operations after the geometry, in place on [size][size][3]:
///   tcl: colour jitter, grey, blur, RandAugment (its flip comes before RandAugment too, and commutes with the others);
///   imagenet: RandAugment, erasing; none, clip: nothing.
void change_colors(const AugmentConfig& config, int size, const ViewKey& key, std::span<std::uint8_t> view);

/// All of it for a whole picture, into out[size][size][3].
void training_view(const Image& image, const AugmentConfig& config, int size, const ViewKey& key,
                   std::span<std::uint8_t> out);
void test_view(const Image& image, const std::string& resize, int size, std::span<std::uint8_t> out,
               int short_side = 0);

}  // namespace triptych

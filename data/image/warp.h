// Affine warps of a picture onto itself: shear, translate, rotate.
#pragma once
#include <array>

#include "data/image/pixels.h"

namespace triptych {

/// Where an output point comes from: (x, y) <- (xx x + xy y + x0, yx x + yy y + y0).
struct AffineMap {
  double xx = 1, xy = 0, x0 = 0, yx = 0, yy = 1, y0 = 0;
};

/// The content turned counter-clockwise by `degrees` about `center`.
AffineMap rotation(double degrees, double center_x, double center_y);

/// Bilinear between pixel centres at whole coordinates, rounded to nearest; outside is `fill`: OpenCV's warpAffine
/// (INTER_LINEAR, constant border), which TCL uses. OpenCV 5 computes so too, 4 rounded coordinates to 1/32 pixel
/// first.
void warp_bilinear(Pixels pixels, const AffineMap& map, std::uint8_t fill);

/// Bicubic (a = -1, not antialiased) with pixel centres at halves; points outside become `fill`: Pillow's
/// Image.transform (AFFINE, BICUBIC), which timm uses.
void warp_bicubic(Pixels pixels, const AffineMap& map, std::array<std::uint8_t, 3> fill);

}  // namespace triptych

// Antialiased bicubic resizing in fixed point, with the bytes of Pillow 11's Image.resize(..., BICUBIC).
//
// The filter is the cubic of Keys (1981) with a = -0.5, widened by the scale when shrinking. The horizontal pass comes
// first; weights have 22 fractional bits, and each pass rounds to uint8. All sums are integers, so every instruction
// set gives the same bytes.
#pragma once
#include <cstdint>
#include <span>

#include "data/image/box.h"
#include "data/image/decode.h"

namespace triptych {

/// Crops `region` out of the picture, resizes the crop to `scaled` and writes the part `window` of the result:
/// out[window.height][window.width][3], mirrored left to right if `flip`. The filter does not see pixels outside the
/// region (nor, where its border lies inside of a pixel, beyond that pixel). Only the rows and columns that the window
/// needs are computed, so a window of an enormous `scaled` is cheap. Throws std::invalid_argument when a box leaves its
/// picture or out.size() is not window.width * window.height * 3.
void resize_bicubic(const Image& image, const RealBox& region, Size scaled, Box window, bool flip,
                    std::span<std::uint8_t> out);

}  // namespace triptych

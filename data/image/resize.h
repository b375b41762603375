// Antialiased bicubic resizing in fixed point, with the bytes of Pillow 11's Image.resize(..., BICUBIC).
//
// The filter is the cubic of Keys (1981) with a = -0.5, widened by the scale when shrinking. The horizontal pass comes
// first; weights have 22 fractional bits, and each pass rounds to uint8. All sums are integers, so every instruction
// set gives the same bytes.
#pragma once
#include <cstdint>
#include <span>

#include "data/image/decode.h"

namespace triptych {

/// A rectangle of pixels: left and top corner, size.
struct Box {
  int x = 0, y = 0, width = 0, height = 0;
  friend bool operator==(const Box&, const Box&) = default;
};

/// Width and height.
struct Size {
  int width = 0, height = 0;
};

/// Crops `region` out of the picture, resizes the crop to `scaled` and writes the part `window` of the result:
/// out[window.height][window.width][3], mirrored left to right if `flip`. The filter does not see pixels outside the
/// region. Only the rows and columns that the window needs are computed, so a window of an enormous `scaled` is cheap.
/// Throws std::invalid_argument when a box leaves its picture or out.size() is not window.width * window.height * 3.
void resize_bicubic(const Image& image, Box region, Size scaled, Box window, bool flip, std::span<std::uint8_t> out);

}  // namespace triptych

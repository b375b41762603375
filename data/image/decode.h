// Encoded bytes to RGB: JPEG, PNG and WebP, told apart by their first bytes, never by a file name.
//
// A picture is decoded whole or refused: cut and damaged files throw instead of giving a grey half. The size is read
// from the header and checked before anything is allocated.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/data_config.h"

namespace triptych {

/// A decoded picture, [height, width, 3] without padding. width and height are at least 1.
struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;
};

/// Longest side that is decoded (the limit of JPEG in libjpeg); longer ones are refused from the header.
inline constexpr int kMaxImageSide = 65500;

/// Decodes `file` to 8-bit RGB. Thread safe.
///   JPEG: grey, YCbCr, RGB; CMYK and YCCK (Adobe's inverted inks) without a colour profile, as Pillow does; EXIF
///     orientation by config.exif; more than 100 scans are refused.
///   PNG: every colour type and depth, interlaced or not; 16 bits keep the high byte; gamma and profiles are not
///   applied. WebP: lossy and lossless; of an animation the first frame on an empty canvas. Alpha (channel, palette or
///   colour key): config.alpha `white` blends onto white with rounding to nearest, `drop` keeps
///     the stored colours.
/// Throws DataError with what, got, expected: not a known format, cut, damaged, larger than config.max_pixels or
/// kMaxImageSide.
Image decode_image(std::span<const unsigned char> file, const DecodeConfig& config);

}  // namespace triptych

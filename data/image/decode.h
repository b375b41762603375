// Encoded bytes to RGB: JPEG, PNG and WebP, told apart by their first bytes, never by a file name.
//
// A picture is decoded whole or refused: cut and damaged files throw instead of giving a grey half. The size is read
// from the header and checked before anything is allocated.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "data/data_config.h"
#include "data/image/box.h"

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
///     orientation by config.exif; more than 100 scans, or fewer bytes than its size can do with, are refused.
///   PNG: every colour type and depth, interlaced or not; 16 bits keep the high byte; gamma and profiles are not
///   applied. WebP: lossy and lossless; of an animation the first frame on an empty canvas. Alpha (channel, palette or
///   colour key): config.alpha `white` blends onto white with rounding to nearest, `drop` keeps
///     the stored colours.
/// Throws DataError with what, got, expected: not a known format, cut, damaged, larger than config.max_pixels or
/// kMaxImageSide.
Image decode_image(std::span<const unsigned char> file, const DecodeConfig& config);

/// What a view takes of a picture: a region, and the size that it is resized to.
struct PixelNeed {
  Box region;
  Size scaled;
};
/// Told the size of the picture, says what will be taken of it.
using NeedsOf = std::function<std::vector<PixelNeed>(Size whole)>;

/// As much of a picture as was needed.
struct PicturePart {
  Image image;
  int denominator = 1;    ///< a pixel of `image` stands for a square of so many pixels of the picture
  int left = 0, top = 0;  ///< of `image`, in pixels of the reduced picture
  /// Where a needed region lies in `image`.
  RealBox inside(const Box& region) const;
};

/// Decodes what the needs cover, with the bytes of decode_image: of a JPEG only those rows and columns are turned into
/// pixels (all of it is read, and refused where it is damaged). With config.scaled a JPEG is decoded at 1/2, 1/4 or 1/8
/// of its size, by libjpeg's reduced inverse transform, as long as no need is enlarged by that: region / denominator >=
/// scaled in both directions. Pictures that EXIF turns, and other formats, are decoded whole. Throws as decode_image.
PicturePart decode_part(std::span<const unsigned char> file, const DecodeConfig& config, const NeedsOf& needs);

}  // namespace triptych

// What the decoders of the single formats share. Internal to data/image.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "data/image/decode.h"

namespace triptych {

PicturePart decode_jpeg(std::span<const unsigned char> file, const DecodeConfig& config, const NeedsOf& needs);
Image decode_png(std::span<const unsigned char> file, const DecodeConfig& config);
Image decode_webp(std::span<const unsigned char> file, const DecodeConfig& config);

/// Throws DataError when a header announces no pixel, or more than the configuration or kMaxImageSide admit.
void check_picture_size(const char* format, std::int64_t width, std::int64_t height, const DecodeConfig& config);

/// An image of this size whose pixels have any value.
Image make_image(int width, int height);

/// [pixels][4] to [pixels][3]: round((colour * alpha + 255 * (255 - alpha)) / 255).
void blend_onto_white(const std::uint8_t* rgba, std::size_t pixels, std::uint8_t* rgb);

}  // namespace triptych

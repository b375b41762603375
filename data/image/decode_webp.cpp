// WebP by libwebp: lossy, lossless, and the first frame of an animation.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>
#include <string>

#include "core/base/errors.h"
#include "data/image/decode_formats.h"

namespace triptych {
namespace {

const char* status_text(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case VP8_STATUS_BITSTREAM_ERROR:
      return "damaged bit stream";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "unsupported feature";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "cut";
    default:
      return "cannot be decoded";
  }
}

void check(VP8StatusCode status, std::size_t size) {
  if (status != VP8_STATUS_OK) throw DataError("WebP, " + std::to_string(size) + " bytes: " + status_text(status));
}

// The RIFF header says how long the file is; trailing bytes are allowed.
void check_length(std::span<const unsigned char> file) {
  const std::size_t announced =
      8 + (std::size_t{file[4]} | std::size_t{file[5]} << 8 | std::size_t{file[6]} << 16 | std::size_t{file[7]} << 24);
  if (file.size() < announced)
    throw DataError("WebP cut: got " + std::to_string(file.size()) + " bytes, expected " + std::to_string(announced));
}

// Decodes one still bit stream to `pixels`, whose rows are `stride` bytes apart.
void decode_still(const std::uint8_t* bytes, std::size_t size, WEBP_CSP_MODE mode, std::uint8_t* pixels,
                  std::size_t stride, std::size_t capacity) {
  WebPDecoderConfig decoder;
  if (!WebPInitDecoderConfig(&decoder)) throw DataError("WebP: the library's version does not match its header");
  decoder.output.colorspace = mode;
  decoder.output.is_external_memory = 1;
  decoder.output.u.RGBA = {pixels, static_cast<int>(stride), capacity};
  check(WebPDecode(bytes, size, &decoder), size);
}

struct FreeDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
struct Frame {
  WebPIterator iterator{};
  ~Frame() { WebPDemuxReleaseIterator(&iterator); }
};

// The first frame where it lies on a transparent canvas of width x height, as RGBA.
void decode_first_frame(std::span<const unsigned char> file, int width, int height, std::uint8_t* canvas) {
  const WebPData data{file.data(), file.size()};
  const std::unique_ptr<WebPDemuxer, FreeDemuxer> demuxer(WebPDemux(&data));
  Frame frame;
  if (!demuxer || !WebPDemuxGetFrame(demuxer.get(), 1, &frame.iterator))
    throw DataError("WebP animation, " + std::to_string(file.size()) + " bytes: no first frame, cut or damaged");
  const auto& at = frame.iterator;
  if (!at.complete || at.x_offset < 0 || at.y_offset < 0 || at.width < 1 || at.height < 1 ||
      at.x_offset + at.width > width || at.y_offset + at.height > height)
    throw DataError("WebP animation: the first frame is cut or leaves its canvas");
  const std::size_t stride = std::size_t{4} * static_cast<std::size_t>(width);
  const std::size_t size = stride * static_cast<std::size_t>(height);
  const std::size_t first = stride * static_cast<std::size_t>(at.y_offset) + 4 * static_cast<std::size_t>(at.x_offset);
  std::memset(canvas, 0, size);
  decode_still(at.fragment.bytes, at.fragment.size, MODE_RGBA, canvas + first, stride, size - first);
}

void drop_alpha(const std::uint8_t* rgba, std::size_t pixels, std::uint8_t* rgb) {
  for (std::size_t i = 0; i < pixels; ++i) std::memcpy(rgb + 3 * i, rgba + 4 * i, 3);
}

}  // namespace

Image decode_webp(std::span<const unsigned char> file, const DecodeConfig& config) {
  check_length(file);
  WebPBitstreamFeatures features;
  check(WebPGetFeatures(file.data(), file.size(), &features), file.size());
  check_picture_size("WebP", features.width, features.height, config);
  Image image = make_image(features.width, features.height);
  const bool blend = features.has_alpha && config.alpha == "white";
  if (!blend && !features.has_animation) {
    decode_still(file.data(), file.size(), MODE_RGB, image.rgb.data(),
                 std::size_t{3} * static_cast<std::size_t>(image.width), image.rgb.size());
    return image;
  }
  const std::size_t pixels = image.rgb.size() / 3;
  const auto rgba = std::make_unique_for_overwrite<std::uint8_t[]>(4 * pixels);
  if (features.has_animation)
    decode_first_frame(file, image.width, image.height, rgba.get());
  else
    decode_still(file.data(), file.size(), MODE_RGBA, rgba.get(),
                 std::size_t{4} * static_cast<std::size_t>(image.width), 4 * pixels);
  if (config.alpha == "white")
    blend_onto_white(rgba.get(), pixels, image.rgb.data());
  else
    drop_alpha(rgba.get(), pixels, image.rgb.data());
  return image;
}

}  // namespace triptych

// PNG by libspng. Only the chunks that make the picture are handed to it, so profiles, texts and whatever else a file
// carries (and may blow up to gigabytes) are never unpacked.
#include <spng.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/errors.h"
#include "data/image/decode_formats.h"

namespace triptych {
namespace {

constexpr std::size_t kSignatureSize = 8;
constexpr std::size_t kChunkFrame = 12;  // length, type, checksum

std::uint32_t big_endian(const unsigned char* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

struct PngChunks {
  std::vector<unsigned char> file;  // signature and the chunks that make the picture
  std::size_t data_size = 0;        // compressed bytes in all IDAT
};

// Walks the chunks up to IEND and keeps the critical ones and the colour key.
PngChunks keep_picture_chunks(std::span<const unsigned char> file) {
  PngChunks kept;
  kept.file.reserve(file.size());
  kept.file.assign(file.begin(), file.begin() + kSignatureSize);
  for (std::size_t at = kSignatureSize;;) {
    const std::size_t left = file.size() - at;
    const std::size_t length = left < 8 ? 0 : big_endian(&file[at]);
    if (left < kChunkFrame || left - kChunkFrame < length)
      throw DataError("PNG cut: the file ends at byte " + std::to_string(file.size()) + " inside the chunk at byte " +
                      std::to_string(at) + ", expected an IEND chunk");
    const std::string_view type(reinterpret_cast<const char*>(&file[at + 4]), 4);
    const bool critical = (file[at + 4] & 0x20) == 0;
    if (critical || type == "tRNS")
      kept.file.insert(kept.file.end(), file.begin() + static_cast<std::ptrdiff_t>(at),
                       file.begin() + static_cast<std::ptrdiff_t>(at + kChunkFrame + length));
    if (type == "IDAT") kept.data_size += length;
    if (type == "IEND") return kept;
    at += kChunkFrame + length;
  }
}

// Deflate packs at most 1032 to 1: a short stream cannot hold a large picture, so no memory is spent on it.
void check_data_size(const spng_ihdr& header, std::size_t data_size) {
  const std::size_t channels[] = {1, 0, 3, 1, 2, 0, 4};
  const std::size_t row_bits = std::size_t{header.width} * header.bit_depth * channels[header.color_type];
  const std::size_t needed = header.height * (row_bits / 8) / 1032;
  if (data_size < needed)
    throw DataError("PNG damaged: got " + std::to_string(data_size) + " bytes of image data, expected at least " +
                    std::to_string(needed) + " for " + std::to_string(header.width) + " x " +
                    std::to_string(header.height) + " pixels");
}

struct FreeContext {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
using Context = std::unique_ptr<spng_ctx, FreeContext>;

void check(int status, std::size_t size) {
  if (status) throw DataError("PNG damaged, " + std::to_string(size) + " bytes: " + spng_strerror(status));
}

bool has_alpha(spng_ctx* context, const spng_ihdr& header) {
  spng_trns key;
  return header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA || header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA ||
         spng_get_trns(context, &key) == 0;
}

}  // namespace

Image decode_png(std::span<const unsigned char> file, const DecodeConfig& config) {
  const PngChunks chunks = keep_picture_chunks(file);
  const Context context(spng_ctx_new(0));
  if (!context) throw std::bad_alloc();
  check(spng_set_png_buffer(context.get(), chunks.file.data(), chunks.file.size()), file.size());
  spng_ihdr header;
  check(spng_get_ihdr(context.get(), &header), file.size());
  check_picture_size("PNG", header.width, header.height, config);
  check_data_size(header, chunks.data_size);

  Image image = make_image(static_cast<int>(header.width), static_cast<int>(header.height));
  if (config.alpha == "white" && has_alpha(context.get(), header)) {
    const std::size_t pixels = image.rgb.size() / 3;
    const auto rgba = std::make_unique_for_overwrite<std::uint8_t[]>(4 * pixels);
    check(spng_decode_image(context.get(), rgba.get(), 4 * pixels, SPNG_FMT_RGBA8, SPNG_DECODE_TRNS), file.size());
    blend_onto_white(rgba.get(), pixels, image.rgb.data());
  } else {
    check(spng_decode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_RGB8, 0), file.size());
  }
  return image;
}

}  // namespace triptych

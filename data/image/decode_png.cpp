// PNG by libspng. Only the chunks that make the picture are handed to it, so profiles, texts and whatever else a file
// carries (and may blow up to gigabytes) are never unpacked.
#include <spng.h>
#include <zlib.h>

#include <cstring>
#include <memory>
#include <string>
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

// The size by the header, where a sound one stands, before the rest of the file is looked at.
void check_announced_size(std::span<const unsigned char> file, const DecodeConfig& config) {
  constexpr std::size_t kHeaderSize = 13;
  if (file.size() < kSignatureSize + kChunkFrame + kHeaderSize || big_endian(&file[8]) != kHeaderSize ||
      std::memcmp(&file[12], "IHDR", 4) != 0)
    return;
  check_picture_size("PNG", big_endian(&file[16]), big_endian(&file[20]), config);
}

struct PngChunks {
  std::vector<unsigned char> file;  // signature and the chunks that make the picture
  std::size_t data_size = 0;        // compressed bytes in all IDAT
};

// Walks the chunks up to IEND and keeps the critical ones and the transparency. Checks their checksums here, because
// libspng stops at the last pixel and never sees the one of the last data chunk.
PngChunks keep_picture_chunks(std::span<const unsigned char> file) {
  PngChunks kept;
  kept.file.reserve(file.size());
  kept.file.assign(file.begin(), file.begin() + kSignatureSize);
  for (std::size_t at = kSignatureSize;;) {
    const auto rest = file.subspan(at);
    const std::size_t length = rest.size() < 8 ? 0 : big_endian(rest.data());
    if (rest.size() < kChunkFrame || rest.size() - kChunkFrame < length)
      throw DataError("PNG cut: the file ends at byte " + std::to_string(file.size()) + " inside the chunk at byte " +
                      std::to_string(at) + ", expected an IEND chunk");
    const std::string type(reinterpret_cast<const char*>(&rest[4]), 4);
    const bool critical = (rest[4] & 0x20) == 0;
    if (critical || type == "tRNS") {
      const auto checksum = crc32_z(0, &rest[4], length + 4);
      if (checksum != big_endian(&rest[8 + length]))
        throw DataError("PNG damaged: wrong checksum of the chunk " + type + " at byte " + std::to_string(at));
      const auto whole = rest.first(kChunkFrame + length);
      kept.file.insert(kept.file.end(), whole.begin(), whole.end());
    }
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

// The transparency chunk; false where there is none.
bool read_transparency(spng_ctx* context, spng_trns& transparency, std::size_t size) {
  const int status = spng_get_trns(context, &transparency);
  if (status != SPNG_ECHUNKAVAIL) check(status, size);
  return status == 0;
}

// 256 colours as RGBA; those that the palette does not have are never asked for.
struct Palette {
  std::uint8_t rgba[256][4];
  unsigned size;
};

Palette read_palette(spng_ctx* context, std::size_t file_size) {
  spng_plte colours;
  spng_trns transparency;
  check(spng_get_plte(context, &colours), file_size);
  const bool transparent = read_transparency(context, transparency, file_size);
  Palette palette{{}, colours.n_entries};
  for (unsigned i = 0; i < colours.n_entries; ++i) {
    const auto& colour = colours.entries[i];
    const std::uint8_t alpha = transparent && i < transparency.n_type3_entries ? transparency.type3_alpha[i] : 255;
    const std::uint8_t rgba[4] = {colour.red, colour.green, colour.blue, alpha};
    std::memcpy(palette.rgba[i], rgba, 4);
  }
  return palette;
}

// Pictures with a palette are mapped here, because libspng takes an index beyond the palette for black. It is given the
// palette i -> (i, i, i) instead and hands back the indices, deinterlaced and one a pixel.
void decode_indexed(spng_ctx* context, const spng_ihdr& header, bool blend, std::size_t file_size, Image& image) {
  const Palette palette = read_palette(context, file_size);
  std::uint8_t colours[256][3];
  for (unsigned i = 0; i < palette.size; ++i) std::memcpy(colours[i], palette.rgba[i], 3);
  if (blend) blend_onto_white(palette.rgba[0], palette.size, colours[0]);

  spng_plte indices{};
  indices.n_entries = 1u << header.bit_depth;
  for (unsigned i = 0; i < indices.n_entries; ++i) {
    const auto index = static_cast<std::uint8_t>(i);
    indices.entries[i] = {index, index, index, 255};
  }
  check(spng_set_plte(context, &indices), file_size);
  check(spng_decode_image(context, image.rgb.data(), image.rgb.size(), SPNG_FMT_RGB8, 0), file_size);
  for (std::size_t i = 0; i < image.rgb.size(); i += 3) {
    const unsigned index = image.rgb[i];
    if (index >= palette.size)
      throw DataError("PNG damaged: got the palette index " + std::to_string(index) + ", expected one of " +
                      std::to_string(palette.size) + " colours");
    std::memcpy(&image.rgb[i], colours[index], 3);
  }
}

}  // namespace

Image decode_png(std::span<const unsigned char> file, const DecodeConfig& config) {
  check_announced_size(file, config);
  const PngChunks chunks = keep_picture_chunks(file);
  const Context context(spng_ctx_new(0));
  if (!context) throw std::bad_alloc();
  check(spng_set_png_buffer(context.get(), chunks.file.data(), chunks.file.size()), file.size());
  spng_ihdr header;
  check(spng_get_ihdr(context.get(), &header), file.size());
  check_picture_size("PNG", header.width, header.height, config);
  check_data_size(header, chunks.data_size);

  Image image = make_image(static_cast<int>(header.width), static_cast<int>(header.height));
  const bool blend = config.alpha == "white";
  spng_trns key;
  const bool transparent = (header.color_type & 4) != 0 || read_transparency(context.get(), key, file.size());
  if (header.color_type == SPNG_COLOR_TYPE_INDEXED) {
    decode_indexed(context.get(), header, blend, file.size(), image);
  } else if (blend && transparent) {
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

// EXIF orientation.
#include "data/image/exif.h"

#include <cstdint>
#include <cstring>

#include "data/image/decode_formats.h"

namespace triptych {
namespace {

// Little or big endian numbers out of a block; 0 outside of it.
struct TiffReader {
  std::string_view bytes;
  bool big;

  std::uint32_t number(std::size_t at, int size) const {
    if (at > bytes.size() || bytes.size() - at < static_cast<std::size_t>(size)) return 0;
    std::uint32_t value = 0;
    for (int i = 0; i < size; ++i)
      value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(big ? i : size - 1 - i)]);
    return value;
  }
};

}  // namespace

int exif_orientation(std::string_view tiff) {
  constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
  if (!tiff.starts_with("II") && !tiff.starts_with("MM")) return 1;
  const TiffReader read{tiff, tiff[0] == 'M'};
  if (read.number(2, 2) != 42) return 1;
  const std::size_t directory = read.number(4, 4);
  const std::size_t entries = read.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * i;
    if (read.number(entry, 2) != kOrientation) continue;
    const auto value = read.number(entry + 8, 2);
    return read.number(entry + 2, 2) == kShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swapped = orientation >= 5;
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image result = swapped ? make_image(image.height, image.width) : make_image(image.width, image.height);
  std::uint8_t* out = result.rgb.data();
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x, out += 3) {
      const int column = swapped ? y : x, row = swapped ? x : y;
      const std::size_t from_x = static_cast<std::size_t>(mirror_x ? image.width - 1 - column : column);
      const std::size_t from_y = static_cast<std::size_t>(mirror_y ? image.height - 1 - row : row);
      std::memcpy(out, &image.rgb[(from_y * static_cast<std::size_t>(image.width) + from_x) * 3], 3);
    }
  }
  return result;
}

}  // namespace triptych

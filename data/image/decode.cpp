// Tells formats apart by their first bytes; size limits; blending onto white.
#include "data/image/decode.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "data/image/decode_formats.h"

namespace triptych {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  const char* name;
};

// What turns up in picture fields of real corpora, for a message that helps; only the first three are decoded.
constexpr Signature kKnown[] = {
    {0, "\xff\xd8\xff"sv, "JPEG"},
    {0, "\x89PNG\r\n\x1a\n"sv, "PNG"},
    {8, "WEBP"sv, "WebP"},
    {0, "GIF8"sv, "GIF"},
    {0, "BM"sv, "BMP"},
    {0, "II*\0"sv, "TIFF"},
    {0, "MM\0*"sv, "TIFF"},
    {4, "ftypavi"sv, "AVIF"},
    {4, "ftyphei"sv, "HEIF"},
    {4, "ftypmif1"sv, "HEIF"},
    {4, "jP  "sv, "JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
    {0, "\xff\x0a"sv, "JPEG XL"},
    {4, "JXL "sv, "JPEG XL"},
    {0, "%PDF"sv, "PDF"},
    {0, "\x1f\x8b"sv, "gzip"},
    {0, "PK\x03\x04"sv, "zip"},
    {0, "8BPS"sv, "Photoshop"},
    {0, "\0\0\1\0"sv, "icon"},
};

std::string_view sniff(std::string_view file) {
  for (const auto& known : kKnown) {
    if (file.size() < known.offset || file.substr(known.offset, known.bytes.size()) != known.bytes) continue;
    if (known.name == "WebP"sv && !file.starts_with("RIFF")) continue;
    return known.name;
  }
  return {};
}

bool looks_like_markup(std::string_view file) {
  while (!file.empty() && std::isspace(static_cast<unsigned char>(file[0]))) file.remove_prefix(1);
  return file.starts_with("\xef\xbb\xbf<") || file.starts_with('<');
}

std::string first_bytes(std::string_view file) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : file.substr(0, 8)) {
    if (!text.empty()) text += ' ';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

[[noreturn]] void throw_unknown(std::string_view file, std::string_view name) {
  const std::string what = !name.empty()             ? std::string(name)
                           : looks_like_markup(file) ? "text with mark-up (HTML, XML or SVG)"
                                                     : "bytes that start with " + first_bytes(file);
  throw DataError("picture: got " + what + ", expected JPEG, PNG or WebP; convert it or leave it out");
}

}  // namespace

RealBox PicturePart::inside(const Box& region) const {
  const double scale = 1.0 / denominator;
  return {region.x * scale - left, region.y * scale - top, region.width * scale, region.height * scale};
}

PicturePart decode_part(std::span<const unsigned char> file, const DecodeConfig& config, const NeedsOf& needs) {
  fault_point(FaultPoint::kDecode);
  const std::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
  if (bytes.empty()) throw DataError("picture: got 0 bytes, expected a JPEG, PNG or WebP file");
  const auto format = sniff(bytes);
  if (format == "JPEG") return decode_jpeg(file, config, needs);
  if (format != "PNG" && format != "WebP") throw_unknown(bytes, format);
  PicturePart whole{format == "PNG" ? decode_png(file, config) : decode_webp(file, config)};
  needs({whole.image.width, whole.image.height});
  return whole;
}

Image decode_image(std::span<const unsigned char> file, const DecodeConfig& config) {
  const auto everything = [](Size whole) { return std::vector<PixelNeed>{{{0, 0, whole.width, whole.height}, whole}}; };
  return decode_part(file, config, everything).image;
}

void check_picture_size(const char* format, std::int64_t width, std::int64_t height, const DecodeConfig& config) {
  const std::string got = std::string(format) + " header: got " + std::to_string(width) + " x " +
                          std::to_string(height) + " pixels, expected ";
  if (width < 1 || height < 1) throw DataError(got + "at least one");
  if (std::max(width, height) > kMaxImageSide)
    throw DataError(got + "sides of at most " + std::to_string(kMaxImageSide));
  if (width * height > config.max_pixels)
    throw DataError(got + "at most " + std::to_string(config.max_pixels) +
                    " in all; data.decode.max_pixels sets this limit");
}

Image make_image(int width, int height) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * height * 3);
  return image;
}

void blend_onto_white(const std::uint8_t* rgba, std::size_t pixels, std::uint8_t* rgb) {
  for (std::size_t i = 0; i < pixels; ++i) {
    const unsigned alpha = rgba[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const unsigned sum = rgba[4 * i + c] * alpha + 255 * (255 - alpha) + 128;
      rgb[3 * i + c] = static_cast<std::uint8_t>((sum + (sum >> 8)) >> 8);  // sum / 255, exactly
    }
  }
}

}  // namespace triptych

// Pictures: JPEG, PNG and WebP, whole and in part.
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "core/base/hash.h"
#include "data/image/decode.h"
#include "tests/data/golden_file.h"
#include "tests/fuzz/fuzz_target.h"

namespace triptych {

std::vector<std::string> fuzz_seeds() {
  constexpr std::size_t kLongest = 5000;  // two pictures with comments of a gigabyte are left out
  const GoldenFile golden("pictures");
  std::vector<std::string> seeds;
  for (const auto& name : golden.names(".file")) {
    const auto bytes = golden[name + ".file"].bytes;
    if (bytes.size() <= kLongest) seeds.emplace_back(bytes.begin(), bytes.end());
  }
  return seeds;
}

namespace {

using Bytes = std::span<const unsigned char>;

DecodeConfig config_of(std::uint64_t choice) {
  DecodeConfig config;
  config.max_pixels = 1 << 14;
  config.alpha = choice & 1 ? "white" : "drop";
  config.exif = choice & 2 ? "apply" : "ignore";
  return config;
}

Box region_of(Size whole, std::uint64_t choice) {
  const auto within = [&](int limit) {
    choice = choice * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<int>((choice >> 33) % static_cast<std::uint64_t>(limit));
  };
  Box box{0, 0, 1 + within(whole.width), 1 + within(whole.height)};
  box.x = within(whole.width - box.width + 1);
  box.y = within(whole.height - box.height + 1);
  return box;
}

/// What decoding what `need_of` asks for gave; nothing: the bytes were refused. `announced` is the size it was told.
std::optional<PicturePart> decoded(Bytes file, const DecodeConfig& config,
                                   const std::function<PixelNeed(Size)>& need_of, Size& announced) {
  std::optional<PicturePart> part;
  expect_data_error_at_most([&] {
    part = decode_part(file, config, [&](Size whole) {
      announced = whole;
      require(whole.width >= 1 && whole.height >= 1);
      require(std::int64_t{whole.width} * whole.height <= config.max_pixels);
      return std::vector<PixelNeed>{need_of(whole)};
    });
  });
  if (!part) return part;
  const auto& image = part->image;
  require(image.rgb.size() == static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
  return part;
}

/// The bytes of `box`, which `part` covers, are those of the whole picture.
void require_same_pixels(const PicturePart& part, const Image& whole, const Box& box) {
  const auto at = part.inside(box);
  const auto row = [](const Image& image, int x, int y) {
    return image.rgb.data() +
           (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) + static_cast<std::size_t>(x)) * 3;
  };
  for (int y = 0; y < box.height; ++y) {
    const auto* got = row(part.image, static_cast<int>(at.x), static_cast<int>(at.y) + y);
    require(std::memcmp(got, row(whole, box.x, box.y + y), static_cast<std::size_t>(box.width) * 3) == 0);
  }
}

void require_inside(const RealBox& box, const Image& image) {
  require(box.x >= 0 && box.y >= 0 && box.x + box.width <= image.width && box.y + box.height <= image.height);
}

void check_picture(Bytes file) {
  const auto choice = xxh64(file.data(), file.size());
  auto config = config_of(choice);
  Size size;
  const auto everything = [](Size all) { return PixelNeed{{0, 0, all.width, all.height}, all}; };
  const auto whole = decoded(file, config, everything, size);
  if (whole) require(whole->image.width == size.width && whole->image.height == size.height);

  Box box;
  const auto some = [&](Size all) { return PixelNeed{box = region_of(all, choice), {1, 1}}; };
  const auto part = decoded(file, config, some, size);
  require(part.has_value() == whole.has_value());  // what is not needed is read too
  if (part) {
    require_inside(part->inside(box), part->image);
    require_same_pixels(*part, whole->image, box);
  }
  config.scaled = true;
  const auto reduced = decoded(file, config, some, size);
  if (reduced) require_inside(reduced->inside(box), reduced->image);
}

std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

/// A PNG whose chunks have the checksums of their bytes: changes in the picture would not get far otherwise.
std::string with_checksums(std::string png) {
  for (std::size_t at = 8; at + 12 <= png.size();) {
    const std::size_t length = big_endian(png, at);
    if (length > png.size() - at - 12) break;
    const auto sum = crc32_z(0, reinterpret_cast<const Bytef*>(&png[at + 4]), length + 4);
    for (std::size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
  return png;
}

}  // namespace
}  // namespace triptych

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace triptych;
  std::string file(reinterpret_cast<const char*>(data), size);
  if (file.starts_with("\x89PNG\r\n\x1a\n")) file = with_checksums(std::move(file));
  check_picture({reinterpret_cast<const unsigned char*>(file.data()), file.size()});
  return 0;
}

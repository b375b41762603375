// Legal pictures of every kind against Pillow's answer (tests/golden/make_pictures.py).
#include "data/image/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "core/base/random_key.h"
#include "data/image/exif.h"
#include "data/image/resize.h"
#include "tests/data/golden_file.h"

namespace triptych {
namespace {

DecodeConfig scaled_down() {
  DecodeConfig config;
  config.scaled = true;
  return config;
}

DecodeConfig settings(const std::string& alpha, const std::string& exif) {
  DecodeConfig config;
  config.alpha = alpha;
  config.exif = exif;
  return config;
}

int largest_difference(const Image& image, const GoldenFile::Tensor& expected) {
  EXPECT_EQ(expected.shape, (std::vector<std::int64_t>{image.height, image.width, 3}));
  EXPECT_EQ(image.rgb.size(), expected.bytes.size());
  int largest = 0;
  for (std::size_t i = 0; i < std::min(image.rgb.size(), expected.bytes.size()); ++i)
    largest = std::max(largest, std::abs(image.rgb[i] - expected.bytes[i]));
  return largest;
}

TEST(DecodeImage, GoldenImagesWithoutBlendingAndTurning) {
  const GoldenFile golden("images");
  const auto names = golden.names(".file");
  EXPECT_EQ(names.size(), 6u);
  for (const auto& name : names) {
    const auto image = decode_image(golden[name + ".file"].bytes, settings("drop", "ignore"));
    EXPECT_EQ(largest_difference(image, golden[name + ".rgb"]), 0) << name;  // <= 2 for JPEG by another library
  }
}

TEST(DecodeImage, GoldenImagesByDefault) {
  const GoldenFile images("images"), expected("pictures");
  for (const std::string name : {"rgba", "palette", "progressive"}) {
    const auto image = decode_image(images[name + ".file"].bytes, DecodeConfig{});
    EXPECT_EQ(largest_difference(image, expected["images." + name + ".default"]), 0) << name;
  }
}

TEST(DecodeImage, EveryKindUnderEverySetting) {
  const GoldenFile golden("pictures");
  const auto names = golden.names(".file");
  EXPECT_GE(names.size(), 40u);
  for (const auto& name : names) {
    const auto file = golden[name + ".file"].bytes;
    const int bound = name == "webp_lossy" || name == "webp_lossy_alpha" ? 2 : 0;  // another version of libwebp
    EXPECT_LE(largest_difference(decode_image(file, settings("drop", "ignore")), golden[name + ".drop"]), bound)
        << name;
    EXPECT_LE(largest_difference(decode_image(file, settings("white", "ignore")), golden[name + ".white"]), bound)
        << name;
    const auto& turned = golden[golden.has(name + ".apply") ? name + ".apply" : name + ".white"];
    EXPECT_LE(largest_difference(decode_image(file, settings("white", "apply")), turned), bound) << name;
  }
}

// ---- parts of pictures ----------------------------------------------------------------------------------------------

NeedsOf only(Box region, Size scaled) {
  return [=](Size) { return std::vector<PixelNeed>{{region, scaled}}; };
}

struct JpegFile {
  std::string name;
  std::span<const unsigned char> bytes;
};
std::vector<JpegFile> jpeg_files(const GoldenFile& images, const GoldenFile& pictures) {
  std::vector<JpegFile> files;
  for (const auto* golden : {&images, &pictures}) {
    for (const auto& name : golden->names(".file")) {
      const auto bytes = (*golden)[name + ".file"].bytes;
      if (bytes[0] == 0xff && bytes[1] == 0xd8) files.push_back({name, bytes});
    }
  }
  return files;
}

TEST(DecodePart, AnyRegionHasTheBytesOfTheWholePicture) {
  const GoldenFile images("images"), pictures("pictures");
  const auto files = jpeg_files(images, pictures);
  EXPECT_GT(files.size(), 8U);
  DecodeConfig config;
  config.scaled = false;
  RandomStream draws(random_key(8, Purpose::kTest));
  int parts = 0;
  for (const auto& file : files) {
    const Image whole = decode_image(file.bytes, config);
    for (int trial = 0; trial < 40; ++trial) {
      Box box;
      box.width = static_cast<int>(1 + draws.below(whole.width));
      box.height = static_cast<int>(1 + draws.below(whole.height));
      box.x = static_cast<int>(draws.below(whole.width - box.width + 1));
      box.y = static_cast<int>(draws.below(whole.height - box.height + 1));
      const auto part = decode_part(file.bytes, config, only(box, {1, 1}));
      ASSERT_EQ(part.denominator, 1);
      parts += part.image.rgb.size() < whole.rgb.size();
      const RealBox at = part.inside(box);
      for (int y = 0; y < box.height; ++y) {
        const auto row = [](const Image& image, double left, double top) {
          return image.rgb.data() + (static_cast<std::size_t>(top) * static_cast<std::size_t>(image.width) +
                                     static_cast<std::size_t>(left)) *
                                        3;
        };
        ASSERT_TRUE(std::equal(row(whole, box.x, box.y + y), row(whole, box.x, box.y + y) + 3 * box.width,
                               row(part.image, at.x, at.y + y)))
            << file.name << " " << box.width << " x " << box.height << " at " << box.x << ", " << box.y << ", row "
            << y;
      }
    }
  }
  EXPECT_GT(parts, 200);
}

TEST(DecodePart, ReducesAsFarAsNoNeedIsEnlarged) {
  const GoldenFile images("images");
  const auto file = images["jpeg420.file"].bytes;  // 301 x 219
  const Box whole{0, 0, 301, 219};
  struct Case {
    Box region;
    Size scaled;
    int denominator;
  };
  for (const auto& c : {Case{whole, {37, 27}, 8}, Case{whole, {38, 27}, 4}, Case{whole, {37, 28}, 4},
                        Case{whole, {75, 54}, 4}, Case{whole, {150, 109}, 2}, Case{whole, {150, 110}, 1},
                        Case{whole, {301, 219}, 1}, Case{whole, {500, 10}, 1}, Case{{40, 20, 80, 80}, {20, 20}, 4}}) {
    const auto part = decode_part(file, scaled_down(), only(c.region, c.scaled));
    EXPECT_EQ(part.denominator, c.denominator) << c.scaled.width << " x " << c.scaled.height;
    const RealBox at = part.inside(c.region);
    EXPECT_GE(at.x, 0);
    EXPECT_GE(at.y, 0);
    EXPECT_LE(at.x + at.width, part.image.width);
    EXPECT_LE(at.y + at.height, part.image.height);
  }
  const NeedsOf two = [&](Size) { return std::vector<PixelNeed>{{whole, {37, 27}}, {{0, 0, 50, 50}, {40, 40}}}; };
  EXPECT_EQ(decode_part(file, scaled_down(), two).denominator, 1);
  DecodeConfig off;
  off.scaled = false;
  EXPECT_EQ(decode_part(file, off, only(whole, {37, 27})).denominator, 1);
  // A picture that EXIF turns is decoded whole; the needs are asked for in its upright form.
  Size told;
  const auto turned = decode_part(images["progressive.file"].bytes, {}, [&](Size size) {
    told = size;
    return std::vector<PixelNeed>{{{0, 0, 10, 10}, {1, 1}}};
  });
  EXPECT_EQ(turned.denominator, 1);
  EXPECT_EQ(told.width, 275);
  EXPECT_EQ(turned.image.width, 275);
}

/// Mean difference of a view made from a reduced picture to the view made from all pixels.
double reduction_error(const Image& whole, const PicturePart& part, Box region, int size) {
  const auto bytes = static_cast<std::size_t>(size * size * 3);
  std::vector<std::uint8_t> exact(bytes), fast(bytes);
  resize_bicubic(whole, region, {size, size}, {0, 0, size, size}, false, exact);
  resize_bicubic(part.image, part.inside(region), {size, size}, {0, 0, size, size}, false, fast);
  double sum = 0;
  for (std::size_t i = 0; i < bytes; ++i) sum += std::abs(exact[i] - fast[i]);
  return sum / static_cast<double>(bytes);
}

TEST(DecodePart, AReducedPictureGivesNearlyTheSameView) {
  const GoldenFile images("images");
  // Levels of 255. The last picture is noise down to single pixels, which two filters must treat differently.
  for (const auto& [name, bound] : std::map<std::string, double>{{"jpeg420", 1.0}, {"gray", 1.5}, {"cmyk", 3.5}}) {
    const auto file = images[name + ".file"].bytes;
    const Image whole = decode_image(file, {});
    for (const Box region : {Box{0, 0, whole.width, whole.height}, Box{17, 9, 141, 153}}) {
      for (const int size : {64, 32, 16}) {
        const auto part = decode_part(file, scaled_down(), only(region, {size, size}));
        ASSERT_GT(part.denominator, 1);
        const double error = reduction_error(whole, part, region, size);
        EXPECT_LT(error, bound) << name << " 1/" << part.denominator << " to " << size;
      }
    }
  }
}

/// Where a region lies inside of reduced pixels, the filter is told so: rounding it to whole ones costs more.
TEST(DecodePart, RegionsKeepTheirFractions) {
  const GoldenFile images("images");
  const auto file = images["jpeg420.file"].bytes;
  const Image whole = decode_image(file, {});
  const Box region{18, 10, 142, 150};
  const auto part = decode_part(file, scaled_down(), only(region, {32, 32}));
  ASSERT_EQ(part.denominator, 4);
  const RealBox at = part.inside(region);
  EXPECT_EQ(at.x - std::floor(at.x), 0.5);
  const Box shifted{region.x + 2, region.y + 2, region.width - 2, region.height - 2};
  std::vector<std::uint8_t> exact(32 * 32 * 3), moved(exact.size()), kept(exact.size());
  const Box window{0, 0, 32, 32};
  resize_bicubic(whole, region, {32, 32}, window, false, exact);
  resize_bicubic(part.image, part.inside(shifted), {32, 32}, window, false, moved);
  resize_bicubic(part.image, at, {32, 32}, window, false, kept);
  int kept_sum = 0, moved_sum = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    kept_sum += std::abs(exact[i] - kept[i]);
    moved_sum += std::abs(exact[i] - moved[i]);
  }
  EXPECT_GT(moved_sum, 2 * kept_sum);
}

TEST(ExifOrientation, BrokenDirectoriesCountAsUpright) {
  const std::string one("MM\0*\0\0\0\x8\0\x1\x1\x12\0\x3\0\0\0\x1\0\x6\0\0\0\0\0\0", 26);
  EXPECT_EQ(exif_orientation(one), 6);
  for (std::size_t cut = 0; cut < 20; ++cut) EXPECT_EQ(exif_orientation(one.substr(0, cut)), 1) << cut;
  auto changed = [&](std::size_t at, char value) {
    auto copy = one;
    copy[at] = value;
    return exif_orientation(copy);
  };
  EXPECT_EQ(changed(19, 9), 1);      // no such orientation
  EXPECT_EQ(changed(13, 4), 1);      // not a short
  EXPECT_EQ(changed(4, '\xff'), 1);  // a directory far outside
  EXPECT_EQ(changed(0, 'I'), 1);     // neither byte order
  EXPECT_EQ(changed(8, '\x7f'), 6);  // more entries announced than there are: the first still counts
}

}  // namespace
}  // namespace triptych

// Legal pictures of every kind against Pillow's answer (tests/golden/make_pictures.py).
#include "data/image/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "data/image/exif.h"
#include "tests/data/golden_file.h"

namespace triptych {
namespace {

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

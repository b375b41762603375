// Pictures with structure, and corpora of them: what hashes and filters need.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/random_key.h"
#include "data/image/encode.h"
#include "tests/support/tar_writer.h"

namespace triptych {

/// Smooth, coloured and the same for the same `seed`: waves up to the eighth cosine frequency of either
/// direction, as natural pictures have them. Different seeds look different.
inline Image wavy_picture(int width, int height, std::uint64_t seed) {
  RandomStream draws(random_key(seed, Purpose::kTest));
  struct Wave {
    double x, y, phase, strength;
  };
  std::vector<Wave> waves(60);
  for (auto& wave : waves)
    wave = {draws.uniform(-26, 26), draws.uniform(-26, 26), draws.uniform(0, 6.3), draws.uniform(4, 12)};
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      double value = 128;
      for (const auto& wave : waves) {
        value += wave.strength * std::cos(wave.x * x / width + wave.y * y / height + wave.phase);
      }
      for (int channel = 0; channel < 3; ++channel) {
        image.rgb.push_back(static_cast<std::uint8_t>(std::clamp(value + 8 * channel, 0.0, 255.0)));
      }
    }
  }
  return image;
}

inline std::string text_of(const std::vector<unsigned char>& bytes) {
  return {bytes.begin(), bytes.end()};
}

/// Extension and bytes of a picture, and its captions: one is a .txt member, several are a list in the .json member.
struct TestRecord {
  std::string extension, picture;
  std::vector<std::string> captions;
};

/// One shard of records with the keys 0, 1, ...; returns its path.
inline std::string write_records(const std::filesystem::path& shard, const std::vector<TestRecord>& records) {
  TarWriter tar;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto key = std::to_string(i) + ".";
    tar.file(key + records[i].extension, records[i].picture);
    if (records[i].captions.size() == 1) {
      tar.file(key + "txt", records[i].captions.front());
      continue;
    }
    std::string list;
    for (const auto& caption : records[i].captions) list += (list.empty() ? "\"" : ", \"") + caption + "\"";
    tar.file(key + "json", "{\"txt\": [" + list + "]}");
  }
  write_test_file(shard, tar.end().bytes());
  return shard.string();
}

}  // namespace triptych

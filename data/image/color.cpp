// Brightness, contrast, saturation, sharpness, hue.
#include "data/image/color.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace triptych {
namespace {

std::uint8_t enhanced(std::uint8_t in, std::uint8_t plain, float factor) {
  const float value = static_cast<float>(plain) + factor * static_cast<float>(in - plain);
  return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

struct Hsv {
  std::uint8_t hue, saturation, value;
};

// Single precision and cutting off, because the bytes depend on them.
Hsv to_hsv(const std::uint8_t* rgb) {
  const std::uint8_t most = std::max({rgb[0], rgb[1], rgb[2]}), least = std::min({rgb[0], rgb[1], rgb[2]});
  if (most == least) return {0, 0, most};
  const auto range = static_cast<float>(most - least);
  float away[3];
  for (int c = 0; c < 3; ++c) away[c] = static_cast<float>(most - rgb[c]) / range;
  float sixths = 0;
  if (rgb[0] == most) {
    sixths = away[2] - away[1];
  } else if (rgb[1] == most) {
    sixths = static_cast<float>(2.0 + away[0] - away[2]);
  } else {
    sixths = static_cast<float>(4.0 + away[1] - away[0]);
  }
  const auto turn = static_cast<float>(std::fmod(sixths / 6.0 + 1.0, 1.0));
  return {static_cast<std::uint8_t>(turn * 255.0), static_cast<std::uint8_t>(range / static_cast<float>(most) * 255.0),
          most};
}

void to_rgb(Hsv hsv, std::uint8_t* rgb) {
  const std::uint8_t v = hsv.value;
  if (hsv.saturation == 0) {
    rgb[0] = rgb[1] = rgb[2] = v;
    return;
  }
  const double sixths = static_cast<float>(hsv.hue) * 6.0 / 255.0;
  const int sector = static_cast<int>(sixths);
  const auto rest = static_cast<float>(sixths - static_cast<float>(sector));
  const auto share = static_cast<float>(static_cast<float>(hsv.saturation) / 255.0);
  const auto byte = [&](double part) { return static_cast<std::uint8_t>(std::round(v * (1.0 - part))); };
  const std::uint8_t low = byte(share), falling = byte(static_cast<double>(share * rest)),
                     rising = byte(share * (1.0 - rest));
  const std::uint8_t sectors[6][3] = {{v, rising, low},  {falling, v, low}, {low, v, rising},
                                      {low, falling, v}, {rising, low, v},  {v, low, falling}};
  std::copy_n(sectors[sector % 6], 3, rgb);
}

}  // namespace

std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16);
}

void grayscale(Pixels pixels) {
  for (std::uint8_t* at = pixels.rgb; at != pixels.rgb + pixels.bytes(); at += 3) at[0] = at[1] = at[2] = luma(at);
}

void adjust_brightness(Pixels pixels, float factor) {
  for (auto& byte : pixels.all()) byte = enhanced(byte, 0, factor);
}

void adjust_contrast(Pixels pixels, float factor) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < pixels.bytes(); i += 3) sum += luma(pixels.rgb + i);
  const double mean = static_cast<double>(sum) / static_cast<double>(pixels.count());
  const auto grey = static_cast<std::uint8_t>(mean + 0.5);
  for (auto& byte : pixels.all()) byte = enhanced(byte, grey, factor);
}

void adjust_saturation(Pixels pixels, float factor) {
  for (std::uint8_t* at = pixels.rgb; at != pixels.rgb + pixels.bytes(); at += 3) {
    const std::uint8_t grey = luma(at);
    for (int c = 0; c < 3; ++c) at[c] = enhanced(at[c], grey, factor);
  }
}

void adjust_sharpness(Pixels pixels, float factor) {
  if (pixels.width < 3 || pixels.height < 3) return;
  const std::size_t step = pixels.row_bytes();
  std::vector<std::uint8_t> above(pixels.rgb, pixels.rgb + step), here(step);
  for (int y = 1; y + 1 < pixels.height; ++y) {
    std::uint8_t* const row = pixels.row(y);
    const std::uint8_t* const below = row + step;
    std::copy_n(row, step, here.begin());
    for (std::size_t i = 3; i + 3 < step; ++i) {
      int sum = 5 * here[i] + here[i - 3] + here[i + 3];
      sum += above[i - 3] + above[i] + above[i + 3] + below[i - 3] + below[i] + below[i + 3];
      const auto smooth = static_cast<std::uint8_t>((2 * sum + 13) / 26);  // round(sum / 13): a tie cannot be
      row[i] = enhanced(here[i], smooth, factor);
    }
    above.swap(here);
  }
}

void adjust_hue(Pixels pixels, double turn) {
  const auto steps = static_cast<std::uint8_t>(static_cast<int>(turn * 255));
  for (std::uint8_t* at = pixels.rgb; at != pixels.rgb + pixels.bytes(); at += 3) {
    Hsv hsv = to_hsv(at);
    hsv.hue = static_cast<std::uint8_t>(hsv.hue + steps);
    to_rgb(hsv, at);
  }
}

}  // namespace triptych

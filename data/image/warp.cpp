// Two ways to sample a picture at points that are not pixels.
#include "data/image/warp.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace triptych {
namespace {

// The cubic through four samples at -1, 0, 1, 2 by Horner's rule: equal samples give exactly their value, which matters
// because the result is cut off and not rounded.
double cubic(const double* v, double t) {
  const double slope = v[2] - v[0], bend = 2 * (v[0] - v[1]) + v[2] - v[3], twist = v[1] - v[0] - v[2] + v[3];
  return v[1] + t * (slope + t * (bend + t * twist));
}

std::uint8_t cut_off(double value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
}

}  // namespace

AffineMap rotation(double degrees, double center_x, double center_y) {
  const double angle = degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
  return {c, -s, (1 - c) * center_x + s * center_y, s, c, (1 - c) * center_y - s * center_x};
}

void warp_bilinear(Pixels pixels, const AffineMap& map, std::uint8_t fill) {
  const std::vector<std::uint8_t> source(pixels.all().begin(), pixels.all().end());
  const auto value = [&](int x, int y, std::size_t c) -> double {
    if (x < 0 || y < 0 || x >= pixels.width || y >= pixels.height) return fill;
    return source[static_cast<std::size_t>(y) * pixels.row_bytes() + static_cast<std::size_t>(x) * 3 + c];
  };
  std::uint8_t* out = pixels.rgb;
  for (int y = 0; y < pixels.height; ++y) {
    for (int x = 0; x < pixels.width; ++x, out += 3) {
      const double from_x = map.xx * x + map.xy * y + map.x0, from_y = map.yx * x + map.yy * y + map.y0;
      const double floor_x = std::floor(from_x), floor_y = std::floor(from_y);
      const int left = static_cast<int>(floor_x), top = static_cast<int>(floor_y);
      const double right_part = from_x - floor_x, low_part = from_y - floor_y;
      for (std::size_t c = 0; c < 3; ++c) {
        const double upper = std::lerp(value(left, top, c), value(left + 1, top, c), right_part);
        const double lower = std::lerp(value(left, top + 1, c), value(left + 1, top + 1, c), right_part);
        out[c] = static_cast<std::uint8_t>(std::nearbyint(std::lerp(upper, lower, low_part)));
      }
    }
  }
}

void warp_bicubic(Pixels pixels, const AffineMap& map, std::array<std::uint8_t, 3> fill) {
  const std::vector<std::uint8_t> source(pixels.all().begin(), pixels.all().end());
  std::uint8_t* out = pixels.rgb;
  for (int y = 0; y < pixels.height; ++y) {
    for (int x = 0; x < pixels.width; ++x, out += 3) {
      const double from_x = map.xx * (x + 0.5) + map.xy * (y + 0.5) + map.x0;
      const double from_y = map.yx * (x + 0.5) + map.yy * (y + 0.5) + map.y0;
      if (from_x < 0 || from_y < 0 || from_x >= pixels.width || from_y >= pixels.height) {
        std::copy(fill.begin(), fill.end(), out);
        continue;
      }
      const double left = std::floor(from_x - 0.5), top = std::floor(from_y - 0.5);
      const int column = static_cast<int>(left) - 1, row = static_cast<int>(top) - 1;
      double lines[3][4];
      for (int j = 0; j < 4; ++j) {
        const auto inside = static_cast<std::size_t>(std::clamp(row + j, 0, pixels.height - 1));
        const std::uint8_t* const line = source.data() + inside * pixels.row_bytes();
        for (int c = 0; c < 3; ++c) {
          double samples[4];
          for (int i = 0; i < 4; ++i) samples[i] = line[3 * std::clamp(column + i, 0, pixels.width - 1) + c];
          lines[c][j] = cubic(samples, from_x - 0.5 - left);
        }
      }
      for (int c = 0; c < 3; ++c) out[c] = cut_off(cubic(lines[c], from_y - 0.5 - top));
    }
  }
}

}  // namespace triptych

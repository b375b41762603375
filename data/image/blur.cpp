// A box of 2 r + 1 whole samples and a fraction of the next on both sides, in fixed point with 24 bits, by running
// sums.
#include "data/image/blur.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace triptych {
namespace {

constexpr int kPasses = 3;
constexpr std::uint32_t kOne = 1u << 24, kHalf = 1u << 23;

struct BoxFilter {
  int radius;                 // whole samples on each side
  std::uint32_t inner, edge;  // weights; (2 radius + 1) inner + 2 edge = 1
};

// Half the width of the extended box, single precision as the weights' bits depend on it.
float box_radius(float deviation) {
  const float variance = deviation * deviation / kPasses;
  const auto length = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
  const auto whole = static_cast<float>(std::floor((length - 1.0) / 2.0));
  float fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  fraction /= 6 * (variance - (whole + 1) * (whole + 1));
  return whole + fraction;
}

BoxFilter make_box(float radius) {
  const int whole = static_cast<int>(radius);
  const auto inner = static_cast<std::uint32_t>(static_cast<float>(kOne) / (radius * 2 + 1));
  return {whole, inner, (kOne - (2 * static_cast<std::uint32_t>(whole) + 1) * inner) / 2};
}

// One pass along an axis of `count` samples that lie `step` bytes apart; `lanes` neighbours move together.
class BoxPass {
 public:
  BoxPass(BoxFilter box, int count, std::size_t step, std::size_t lanes)
      : box_(box), count_(count), step_(step), lanes_(lanes), sums_(lanes) {}

  void run(const std::uint8_t* in, std::uint8_t* out) {
    start(in);
    for (int at = 0; at < count_; ++at) {
      const std::uint8_t* const next = sample(in, at + box_.radius + 1);
      const std::uint8_t* const before = sample(in, at - box_.radius - 1);
      const std::uint8_t* const first = sample(in, at - box_.radius);
      std::uint8_t* const to = out + static_cast<std::size_t>(at) * step_;
      for (std::size_t i = 0; i < lanes_; ++i) {
        const std::uint32_t ends = std::uint32_t{next[i]} + before[i];
        to[i] = static_cast<std::uint8_t>((sums_[i] * box_.inner + ends * box_.edge + kHalf) >> 24);
        sums_[i] += std::uint32_t{next[i]} - first[i];
      }
    }
  }

 private:
  const std::uint8_t* sample(const std::uint8_t* in, int at) const {
    return in + static_cast<std::size_t>(std::clamp(at, 0, count_ - 1)) * step_;
  }
  void start(const std::uint8_t* in) {
    std::fill(sums_.begin(), sums_.end(), 0);
    for (int at = -box_.radius; at <= box_.radius; ++at)
      for (std::size_t i = 0; i < lanes_; ++i) sums_[i] += sample(in, at)[i];
  }

  BoxFilter box_;
  int count_;
  std::size_t step_, lanes_;
  std::vector<std::uint32_t> sums_;
};

}  // namespace

void gaussian_blur(Pixels pixels, float radius) {
  if (radius <= 0) return;
  const BoxFilter box = make_box(box_radius(radius));
  std::vector<std::uint8_t> row(pixels.row_bytes()), picture(pixels.bytes());
  BoxPass across(box, pixels.width, 3, 3), down(box, pixels.height, pixels.row_bytes(), pixels.row_bytes());
  for (int y = 0; y < pixels.height; ++y) {
    for (int pass = 0; pass < kPasses; ++pass) {
      std::copy_n(pixels.row(y), row.size(), row.begin());
      across.run(row.data(), pixels.row(y));
    }
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    std::copy_n(pixels.rgb, picture.size(), picture.begin());
    down.run(picture.data(), pixels.rgb);
  }
}

}  // namespace triptych

// The transform is two small matrix products: only 8 frequencies of each direction are needed.
#include "data/tools/perceptual_hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "data/image/resize.h"

namespace triptych {
namespace {

constexpr int kSide = 32, kFrequencies = 8;

using Waves = std::array<std::array<double, kSide>, kFrequencies>;

/// Orthonormal DCT-II of length 32, frequencies 1 .. 8.
Waves make_waves() {
  Waves waves;
  for (int f = 0; f < kFrequencies; ++f) {
    for (int x = 0; x < kSide; ++x) {
      waves[static_cast<std::size_t>(f)][static_cast<std::size_t>(x)] =
          std::sqrt(2.0 / kSide) * std::cos(std::numbers::pi * (f + 1) * (2 * x + 1) / (2 * kSide));
    }
  }
  return waves;
}

}  // namespace

std::optional<std::uint64_t> perceptual_hash(const Image& image) {
  static const Waves waves = make_waves();
  std::vector<std::uint8_t> rgb(kSide * kSide * 3);
  resize_bicubic(image, Box{0, 0, image.width, image.height}, {kSide, kSide}, {0, 0, kSide, kSide}, false, rgb);
  std::array<std::array<double, kFrequencies>, kSide> rows{};  // [y][u]
  for (std::size_t y = 0; y < kSide; ++y) {
    for (std::size_t x = 0; x < kSide; ++x) {
      const auto* p = &rgb[(y * kSide + x) * 3];
      const double grey = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
      for (std::size_t u = 0; u < kFrequencies; ++u) rows[y][u] += waves[u][x] * grey;
    }
  }
  std::array<double, kFrequencies * kFrequencies> coefficients{};  // [v][u]
  for (std::size_t v = 0; v < kFrequencies; ++v) {
    for (std::size_t u = 0; u < kFrequencies; ++u) {
      for (std::size_t y = 0; y < kSide; ++y) coefficients[v * kFrequencies + u] += waves[v][y] * rows[y][u];
    }
  }
  if (std::all_of(coefficients.begin(), coefficients.end(), [](double c) { return std::abs(c) < 1; })) return {};
  auto sorted = coefficients;
  std::sort(sorted.begin(), sorted.end());
  const double median = (sorted[31] + sorted[32]) / 2;
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < coefficients.size(); ++i) {
    if (coefficients[i] > median) hash |= std::uint64_t{1} << i;
  }
  return hash;
}

HammingIndex::HammingIndex(int distance) : distance_(distance) {
  if (distance < 0 || distance > kMostDistance) throw std::invalid_argument("Hamming distance must be 0 to 15");
  bands_.resize(static_cast<std::size_t>(distance) + 1);
}

/// The i-th of n nearly equal pieces of the 64 bits.
std::uint64_t HammingIndex::band(std::uint64_t hash, std::size_t i) const {
  const auto begin = 64 * i / bands_.size(), end = 64 * (i + 1) / bands_.size();
  const auto width = end - begin;
  return width == 64 ? hash : (hash >> begin) & ((std::uint64_t{1} << width) - 1);
}

void HammingIndex::add(std::uint64_t hash) {
  const auto number = hashes_.size();
  if (number > UINT32_MAX) throw std::length_error("HammingIndex holds at most 2^32 hashes");
  hashes_.push_back(hash);
  for (std::size_t i = 0; i < bands_.size(); ++i) {
    bands_[i][band(hash, i)].push_back(static_cast<std::uint32_t>(number));
  }
}

std::optional<int> HammingIndex::nearest(std::uint64_t hash) const {
  std::optional<int> best;
  for (std::size_t i = 0; i < bands_.size(); ++i) {
    const auto found = bands_[i].find(band(hash, i));
    if (found == bands_[i].end()) continue;
    for (const auto number : found->second) {
      const int distance = std::popcount(hash ^ hashes_[number]);
      if (distance <= distance_ && (!best || distance < *best)) best = distance;
    }
  }
  return best;
}

}  // namespace triptych

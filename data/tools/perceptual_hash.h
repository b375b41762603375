// Near-duplicate pictures: a 64-bit hash that survives scaling and compression, and an index by Hamming distance.
#pragma once
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "data/image/decode.h"

namespace triptych {

/// The DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), 3.1: brightness
/// (0.299 R + 0.587 G + 0.114 B) of the picture resized to 32 x 32, its cosine transform, the 8 x 8 coefficients of
/// frequencies 1 .. 8 both ways; bit 8 (v - 1) + u - 1 is set where coefficient (u, v) is above their median. Nothing
/// for a picture without structure (every coefficient below 1 of 255 grey levels), which would be like any other such.
std::optional<std::uint64_t> perceptual_hash(const Image& image);

/// Hashes within a Hamming distance of at most `distance` of each other are found by the pigeonhole principle: of
/// distance + 1 bands of the 64 bits at least one is equal. About 16 bytes a hash and band.
class HammingIndex {
 public:
  static constexpr int kMostDistance = 15;
  /// Throws std::invalid_argument unless 0 <= distance <= kMostDistance.
  explicit HammingIndex(int distance);
  void add(std::uint64_t hash);
  /// The distance of the nearest hash that was added; nothing when none is within `distance`.
  std::optional<int> nearest(std::uint64_t hash) const;
  std::int64_t size() const { return static_cast<std::int64_t>(hashes_.size()); }

 private:
  std::uint64_t band(std::uint64_t hash, std::size_t i) const;

  int distance_;
  std::vector<std::uint64_t> hashes_;
  std::vector<std::unordered_map<std::uint64_t, std::vector<std::uint32_t>>> bands_;  // band's bits -> hashes
};

}  // namespace triptych

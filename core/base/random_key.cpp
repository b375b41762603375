// Keys, streams and permutations. Every constant here decides the bits of existing runs: none may change.
#include "core/base/random_key.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

namespace triptych {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;    // 2^64 / golden ratio
constexpr std::uint64_t kKeyStart = 0x7472697074796368;  // "triptych"
constexpr std::uint64_t kRound = 0xd1b54a32d192ed03;     // odd; tells the rounds of a permutation apart

/// A bijection of 64 bits that flips each output bit with probability 1/2 when any input bit flips.
/// Shifts and factors: variant 13 of D. Stafford, "Better Bit Mixing" (2011), as in SplitMix64 (Steele et al. 2014).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t random_key(std::initializer_list<std::uint64_t> words) {
  std::uint64_t key = kKeyStart;
  for (const auto word : words) key = mix((key ^ mix(word + kGolden)) + kGolden);
  return key;
}

std::uint64_t RandomStream::bits() {
  // The counter is mixed before it meets the key: streams of different keys are then no shifted copies of one sequence.
  return mix(key_ ^ mix(counter_++ * kGolden + kRound));
}

double RandomStream::uniform() {
  return static_cast<double>(bits() >> 11) * 0x1p-53;
}

double RandomStream::uniform(double low, double high) {
  const double x = low + (high - low) * uniform();
  return x < high || low == high ? x : std::nextafter(high, low);  // the sum may round up to `high`
}

std::int64_t RandomStream::below(std::int64_t n) {
  if (n < 1) throw std::invalid_argument("RandomStream::below: n must be >= 1, got " + std::to_string(n));
  // Lemire, "Fast Random Integer Generation in an Interval" (2019): the high word of bits * n, rejecting the few low
  // words that would make some results more likely.
  const auto range = static_cast<std::uint64_t>(n);
  const std::uint64_t reject = -range % range;
  while (true) {
    const auto product = static_cast<unsigned __int128>(bits()) * range;
    if (static_cast<std::uint64_t>(product) >= reject) return static_cast<std::int64_t>(product >> 64);
  }
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));  // 1 - u is in (0, 1]
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

KeyedPermutation::KeyedPermutation(std::uint64_t key, std::int64_t n) : key_(key), n_(n) {
  if (n < 1) throw std::invalid_argument("KeyedPermutation: size must be >= 1, got " + std::to_string(n));
  half_bits_ = std::max(1, (static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n - 1))) + 1) / 2);
}

std::int64_t KeyedPermutation::operator()(std::int64_t place) const {
  if (place < 0 || place >= n_) {
    throw std::out_of_range("KeyedPermutation: place " + std::to_string(place) + " is not in 0 .. " +
                            std::to_string(n_ - 1));
  }
  // A Feistel network permutes 0 .. 4^half_bits - 1, which is < 4 n; following it until it returns into 0 .. n-1 is a
  // permutation of 0 .. n-1 (Black and Rogaway 2002, cycle walking), on average in less than 4 turns.
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  auto x = static_cast<std::uint64_t>(place);
  do {
    std::uint64_t left = x >> half_bits_, right = x & mask;
    for (std::uint64_t round = 1; round <= 6; ++round) {
      const std::uint64_t turned = left ^ (mix(key_ ^ mix(right + round * kRound)) & mask);
      left = right;
      right = turned;
    }
    x = left << half_bits_ | right;
  } while (x >= static_cast<std::uint64_t>(n_));
  return static_cast<std::int64_t>(x);
}

}  // namespace triptych

// Randomness is a function: every draw of the program is keyed by what it is for and where it happens, so no generator
// state exists that would have to be saved. A key is mixed from words; a stream counts up from a key.
#pragma once
#include <cstdint>
#include <initializer_list>

namespace triptych {

/// What a draw is for; part of every key. Numbers are stable: they decide the bits of existing runs.
enum class Purpose : std::uint64_t {
  kInit = 1,            ///< initial parameters
  kShuffle = 2,         ///< order of records
  kMixture = 3,         ///< order of corpora
  kCrop = 4,            ///< geometry of a view: crop, flip
  kCaption = 5,         ///< which caption of a record
  kPrompt = 6,          ///< which prompt, which name of a class
  kReplacement = 7,     ///< which record replaces a bad one
  kDropout = 8,         ///< masks of dropout
  kDropPath = 9,        ///< gates of residual branches
  kErasing = 10,        ///< random erasing
  kMask = 11,           ///< masked tokens
  kNegative = 12,       ///< sampled negatives
  kCoalition = 13,      ///< Shapley coalitions
  kQueue = 14,          ///< initial rows of a queue
  kFusion = 15,         ///< dropout of the fusion encoder on pairs
  kWords = 16,          ///< dropout of a student that guesses masked words
  kTeacher = 17,        ///< dropout of momentum encoders
  kTeacherWords = 18,   ///< the same on masked words
  kGate = 19,           ///< network or sampler, for a Shapley interaction
  kColor = 20,          ///< colours of a view: jitter, grey, blur
  kOperation = 21,      ///< RandAugment
  kMix = 22,            ///< mixup and cutmix
  kPairGate = 23,       ///< network or exact value, for a pair of region and phrase
  kPairCoalition = 24,  ///< Shapley coalitions of regions and phrases
  kMember = 25,         ///< which cells of a region are valued alone
  kTest = 1000,         ///< data made by tests and benchmarks
};

/// Mixes words into 64 well-spread bits; the same on every machine. Order matters.
std::uint64_t random_key(std::initializer_list<std::uint64_t> words);
inline std::uint64_t random_key(std::uint64_t seed, Purpose purpose, std::initializer_list<std::uint64_t> where = {}) {
  std::uint64_t key = random_key({seed, static_cast<std::uint64_t>(purpose)});
  for (const auto word : where) key = random_key({key, word});
  return key;
}

/// A counter-based stream of draws from one key.
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t key) : key_(key) {}
  std::uint64_t bits();                     ///< 64 uniform bits
  double uniform();                         ///< [0, 1), 53 bits
  double uniform(double low, double high);  ///< [low, high)
  std::int64_t below(std::int64_t n);       ///< 0 .. n-1 without bias; n >= 1
  double normal();                          ///< mean 0, deviation 1

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

/// A permutation of 0 .. n-1 evaluated at one place in O(1) memory and time (cycle-walking Feistel network).
class KeyedPermutation {
 public:
  KeyedPermutation(std::uint64_t key, std::int64_t n);
  std::int64_t operator()(std::int64_t place) const;
  std::int64_t size() const { return n_; }

 private:
  std::uint64_t key_;
  std::int64_t n_;
  int half_bits_;
};

}  // namespace triptych

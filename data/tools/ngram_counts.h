// How often each word and each pair of neighbouring words occurs: for the rule on rare n-grams.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace triptych {

/// Counts by 64-bit hash of the n-gram: 16 to 32 bytes for each different one (places of 12 bytes, of which 3/8
/// to 3/4 are taken). n-grams whose hashes agree are taken for one (of 100 million, 0.0003 pairs are expected to).
/// Counts stop at 2^32 - 1.
class NgramCounts {
 public:
  NgramCounts();
  ~NgramCounts();
  /// Counts every word and every pair of neighbours once for each time it occurs. Thread safe.
  void add(const std::vector<std::string>& words);
  /// The count that an n-gram must reach to be among the `most` most frequent ones; those that share the count of the
  /// last are all in. 0 when there are no more than `most`. Not while add() runs.
  std::uint32_t least_count(std::int64_t most) const;
  /// True when some word or pair has been counted fewer than `least` times.
  bool has_rare(const std::vector<std::string>& words, std::uint32_t least) const;
  std::int64_t different() const;

 private:
  struct Part;
  std::vector<std::unique_ptr<Part>> parts_;  // by the hash's low bits, each with a lock of its own
};

}  // namespace triptych

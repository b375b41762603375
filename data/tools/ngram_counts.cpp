// Open addressing with linear probing, keys and counts in two arrays.
#include "data/tools/ngram_counts.h"

#include <algorithm>
#include <mutex>

#include "core/base/hash.h"

namespace triptych {
namespace {

constexpr std::size_t kParts = 64;

/// Calls `each` with the hash of every word and pair. A word holds no blank, so no pair is a word.
template <class Each>
void for_each_ngram(const std::vector<std::string>& words, Each&& each) {
  std::string pair;
  for (std::size_t i = 0; i < words.size(); ++i) {
    each(xxh64(words[i]));
    if (i + 1 == words.size()) break;
    pair.assign(words[i]).append(" ").append(words[i + 1]);
    each(xxh64(pair));
  }
}

}  // namespace

struct NgramCounts::Part {
  mutable std::mutex mutex;
  std::vector<std::uint64_t> keys = std::vector<std::uint64_t>(16);  // beside a count of 0 a place is free
  std::vector<std::uint32_t> counts = std::vector<std::uint32_t>(16);
  std::size_t used = 0;

  std::size_t place(std::uint64_t key) const {
    auto i = (key / kParts) & (keys.size() - 1);
    while (counts[i] != 0 && keys[i] != key) i = (i + 1) & (keys.size() - 1);
    return i;
  }
  void add(std::uint64_t key) {
    if (4 * (used + 1) > 3 * keys.size()) grow();
    const auto i = place(key);
    if (counts[i] == 0) keys[i] = key, ++used;
    if (counts[i] != UINT32_MAX) ++counts[i];
  }
  void grow() {
    const auto old_keys = std::move(keys);
    const auto old_counts = std::move(counts);
    keys.assign(2 * old_keys.size(), 0);
    counts.assign(keys.size(), 0);
    for (std::size_t i = 0; i < old_keys.size(); ++i) {
      if (old_counts[i] == 0) continue;
      const auto to = place(old_keys[i]);
      keys[to] = old_keys[i];
      counts[to] = old_counts[i];
    }
  }
};

NgramCounts::NgramCounts() {
  for (std::size_t i = 0; i < kParts; ++i) parts_.push_back(std::make_unique<Part>());
}

NgramCounts::~NgramCounts() = default;

void NgramCounts::add(const std::vector<std::string>& words) {
  for_each_ngram(words, [&](std::uint64_t key) {
    auto& part = *parts_[key % kParts];
    const std::lock_guard lock(part.mutex);
    part.add(key);
  });
}

std::int64_t NgramCounts::different() const {
  std::size_t sum = 0;
  for (const auto& part : parts_) sum += part->used;
  return static_cast<std::int64_t>(sum);
}

std::uint32_t NgramCounts::least_count(std::int64_t most) const {
  if (different() <= most) return 0;
  std::vector<std::uint32_t> counts;
  counts.reserve(static_cast<std::size_t>(different()));
  for (const auto& part : parts_) {
    std::copy_if(part->counts.begin(), part->counts.end(), std::back_inserter(counts), [](auto n) { return n != 0; });
  }
  const auto last = counts.begin() + (most - 1);
  std::nth_element(counts.begin(), last, counts.end(), std::greater<>());
  return *last;
}

bool NgramCounts::has_rare(const std::vector<std::string>& words, std::uint32_t least) const {
  bool rare = false;
  for_each_ngram(words, [&](std::uint64_t key) {
    const auto& part = *parts_[key % kParts];
    rare |= part.counts[part.place(key)] < least;
  });
  return rare;
}

}  // namespace triptych

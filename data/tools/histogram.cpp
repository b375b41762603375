// A bucket is the position of the leading bit and the three bits behind it.
#include "data/tools/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

namespace triptych {

int Histogram::bucket_of(std::int64_t value) {
  if (value < kExact) return static_cast<int>(value);
  const int octave = 63 - std::countl_zero(static_cast<std::uint64_t>(value));  // 4 .. 62
  return kExact + kPieces * (octave - 4) + static_cast<int>(value >> (octave - 3) & (kPieces - 1));
}

std::int64_t Histogram::low_of(int bucket) {
  if (bucket < kExact) return bucket;
  const int octave = 4 + (bucket - kExact) / kPieces, piece = (bucket - kExact) % kPieces;
  if (octave > 62) return INT64_MAX;  // the end of the last bucket
  return std::int64_t{kPieces + piece} << (octave - 3);
}

void Histogram::add(std::int64_t value) {
  if (value < 0) throw std::invalid_argument("Histogram: a value below 0");
  ++counts_[static_cast<std::size_t>(bucket_of(value))];
  ++count_;
  sum_ += value;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
}

void Histogram::add(const Histogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

std::int64_t Histogram::quantile(double q) const {
  const auto wanted = static_cast<std::int64_t>(std::ceil(q * static_cast<double>(count_)));
  std::int64_t seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    seen += counts_[static_cast<std::size_t>(i)];
    if (seen >= wanted && seen > 0) return std::clamp(low_of(i + 1) - 1, min(), max());
  }
  return max();
}

std::vector<Histogram::Bucket> Histogram::buckets(int join) const {
  std::vector<Bucket> out;
  if (count_ == 0) return out;
  const int last = bucket_of(max_);
  for (int i = bucket_of(min_) / join * join; i <= last; i += join) {
    const int end = std::min(i + join, kBuckets);
    std::int64_t count = 0;
    for (int j = i; j < end; ++j) count += counts_[static_cast<std::size_t>(j)];
    out.push_back({low_of(i), low_of(end) - 1, count});
  }
  return out;
}

}  // namespace triptych

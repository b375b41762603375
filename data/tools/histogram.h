// How a whole number is spread over records: exact ends and mean, shares in fine buckets.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace triptych {

/// Values >= 0. Below 16 each value is a bucket; above, every power of two is cut into 8 buckets, so that a quantile is
/// at most an eighth too large. 4 KiB, whatever is added.
class Histogram {
 public:
  void add(std::int64_t value);
  void add(const Histogram& other);
  std::int64_t count() const { return count_; }
  std::int64_t sum() const { return sum_; }
  std::int64_t min() const { return count_ == 0 ? 0 : min_; }
  std::int64_t max() const { return count_ == 0 ? 0 : max_; }
  double mean() const { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }
  /// The largest value of the bucket in which the share `q` (0 .. 1) of the values is reached, at most max().
  std::int64_t quantile(double q) const;

  /// Values [low, high] and how many there are.
  struct Bucket {
    std::int64_t low, high, count;
    friend bool operator==(const Bucket&, const Bucket&) = default;
  };
  /// From the first to the last bucket with a value, `join` neighbours made one.
  std::vector<Bucket> buckets(int join = 1) const;

 private:
  static constexpr int kExact = 16, kPieces = 8, kBuckets = kExact + kPieces * 59;
  static int bucket_of(std::int64_t value);
  static std::int64_t low_of(int bucket);

  std::array<std::int64_t, kBuckets> counts_{};
  std::int64_t count_ = 0, sum_ = 0, min_ = INT64_MAX, max_ = INT64_MIN;
};

}  // namespace triptych

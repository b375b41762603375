// Which corpus stands at which place of a period: an even interleaving, evaluated at one place.
#pragma once
#include <cstdint>
#include <vector>

namespace triptych {

/// Interleaves sources of given sizes over a period of their sum: at every place each source has had its share of the
/// places so far, up to rounding. Source k is split off from the sources behind it by the rounding rule of a drawn line
/// (Bresenham), so `at` is exact, O(sources), and one to one between places and (source, index).
class Mixture {
 public:
  explicit Mixture(std::vector<std::int64_t> sizes);

  struct Slot {
    int source = 0;
    std::int64_t index = 0;  ///< how many slots of this source stand before
  };
  /// 0 <= place < period().
  Slot at(std::int64_t place) const;
  /// How many of the first `places` slots belong to `source`; 0 <= places <= period().
  std::int64_t before(int source, std::int64_t places) const;
  std::int64_t period() const { return rest_.empty() ? 0 : rest_.front(); }

 private:
  std::vector<std::int64_t> sizes_;
  std::vector<std::int64_t> rest_;  // rest_[k] = sizes of the sources k, k+1, ...
};

/// Positions (or batches) over which weighted quotas are exact.
inline constexpr std::int64_t kQuotaBlock = 1000;

/// Quotas of a block by the corpora's weights. Throws ConfigError: a weight that is not positive, or too small for one
/// record in a block.
std::vector<std::int64_t> block_quotas(const std::vector<double>& weights);

/// Whole quotas of `total` by weight: floors of the exact shares, then one more for the largest remainders (the first
/// source wins a tie). They sum to `total`.
std::vector<std::int64_t> whole_quotas(const std::vector<double>& weights, std::int64_t total);

}  // namespace triptych

// The rounding rule: among n places of which a are ours, floor(m a / n) of the first m are.
#include "data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/errors.h"

namespace triptych {
namespace {

std::int64_t share(std::int64_t places, std::int64_t ours, std::int64_t all) {
  __extension__ using Wide = __int128;
  return static_cast<std::int64_t>(static_cast<Wide>(places) * ours / all);
}

}  // namespace

Mixture::Mixture(std::vector<std::int64_t> sizes) : sizes_(std::move(sizes)), rest_(sizes_) {
  for (std::size_t k = rest_.size(); k-- > 1;) rest_[k - 1] += rest_[k];
}

Mixture::Slot Mixture::at(std::int64_t place) const {
  std::size_t k = 0;
  for (; k + 1 < sizes_.size(); ++k) {
    const auto before = share(place, sizes_[k], rest_[k]);
    if (share(place + 1, sizes_[k], rest_[k]) > before) return {static_cast<int>(k), before};
    place -= before;
  }
  return {static_cast<int>(k), place};
}

std::int64_t Mixture::before(int source, std::int64_t places) const {
  const auto last = static_cast<std::size_t>(source);
  for (std::size_t k = 0; k < last; ++k) places -= share(places, sizes_[k], rest_[k]);
  return last + 1 == sizes_.size() ? places : share(places, sizes_[last], rest_[last]);
}

std::vector<std::int64_t> block_quotas(const std::vector<double>& weights) {
  for (const auto weight : weights) {
    if (!(weight > 0) || !std::isfinite(weight)) throw ConfigError("data.corpora: a weight is not positive");
  }
  auto quotas = whole_quotas(weights, kQuotaBlock);
  for (std::size_t i = 0; i < quotas.size(); ++i) {
    if (quotas[i] == 0) {
      throw ConfigError("data.corpora[" + std::to_string(i) + "].weight: its share of the " +
                        std::to_string(kQuotaBlock) +
                        " records of a block is rounded to none, so the corpus would never be drawn; raise its weight");
    }
  }
  return quotas;
}

std::vector<std::int64_t> whole_quotas(const std::vector<double>& weights, std::int64_t total) {
  if (weights.empty()) throw std::logic_error("whole_quotas: nothing to share among");
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<std::int64_t> quotas;
  std::vector<double> remainders;
  for (const auto weight : weights) {
    const double exact = weight / sum * static_cast<double>(total);
    quotas.push_back(static_cast<std::int64_t>(std::floor(exact)));
    remainders.push_back(exact - std::floor(exact));
  }
  std::vector<std::size_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return remainders[a] > remainders[b]; });
  auto left = total - std::accumulate(quotas.begin(), quotas.end(), std::int64_t{0});
  for (std::size_t i = 0; left > 0; i = (i + 1) % order.size(), --left) ++quotas[order[i]];
  return quotas;
}

}  // namespace triptych

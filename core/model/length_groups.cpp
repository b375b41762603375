// Order, cut, run, put back.
#include "core/model/length_groups.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include <algorithm>

namespace triptych {
namespace {

constexpr std::int64_t kRowsOfAGroup = 32;

}  // namespace

LengthGroups::LengthGroups(const at::Tensor& lengths_n, std::int64_t group) {
  const auto [sorted_n, order_n] = lengths_n.sort(std::optional(true), /*dim=*/0);
  order_n_ = order_n;
  const at::Tensor on_host = sorted_n.cpu();
  const auto* lengths = on_host.const_data_ptr<std::int64_t>();
  lengths_.assign(lengths, lengths + on_host.numel());
  const std::int64_t usual = lengths_n.is_cpu() ? kRowsOfAGroup : on_host.numel();
  group_ = group > 0 ? group : usual;
}

at::Tensor LengthGroups::each(const at::Tensor& x_nld,
                              const std::function<at::Tensor(const at::Tensor&, std::int64_t)>& run) const {
  std::vector<at::Tensor> results;
  for (std::int64_t begin = 0; begin < x_nld.size(0); begin += group_) {
    const std::int64_t rows = std::min(group_, x_nld.size(0) - begin);
    // Autocast would let all groups share one narrow copy of each weight, and add their gradients in its type.
    at::autocast::clear_cache();
    results.push_back(run(x_nld.narrow(0, begin, rows).narrow(1, 0, lengths_[begin + rows - 1]), begin));
  }
  return at::cat(results).index_select(0, order_n_.argsort());
}

}  // namespace triptych

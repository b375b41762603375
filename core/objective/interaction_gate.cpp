// Sorting on the CPU: the sampler's work is planned there.
#include "core/objective/interaction_gate.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace triptych {
namespace {

/// The places of the `count` least values, ascending; lower places first among equals.
at::Tensor least(const at::Tensor& values, std::int64_t count) {
  const at::Tensor order = std::get<1>(values.sort(/*stable=*/true, 0, /*descending=*/false));
  return std::get<0>(order.narrow(0, 0, count).sort());
}

}  // namespace

at::Tensor gated_targets(const at::Tensor& sigma, const at::Tensor& uniform, const at::Tensor& eligible,
                         std::int64_t most) {
  TORCH_CHECK(sigma.sizes() == uniform.sizes() && sigma.device().is_cpu() && uniform.device().is_cpu(), "sigma ",
              sigma.sizes(), " and draws ", uniform.sizes(), " must have one shape, on the CPU");
  const at::Tensor ratio = (uniform / sigma).flatten();
  at::Tensor gated = (uniform <= sigma).flatten();  // not ratio <= 1, which 0 / 0 fails
  if (eligible.defined()) gated = gated.logical_and(eligible.flatten());
  const at::Tensor places = gated.nonzero().squeeze(1);
  if (places.size(0) <= most) return places;
  return places.index_select(0, least(ratio.index_select(0, places), most));
}

at::Tensor targets_of_rows(const at::Tensor& uniform_nt, std::int64_t most) {
  const std::int64_t n = uniform_nt.size(0), targets = uniform_nt.size(1);
  const std::int64_t count = std::min(n, std::max<std::int64_t>(1, most / std::max<std::int64_t>(1, targets)));
  const at::Tensor rows = least(uniform_nt.select(1, 0), count);
  return (rows.unsqueeze(1) * targets + at::arange(targets, rows.options())).flatten();
}

}  // namespace triptych

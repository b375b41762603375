// Boxes and memberships are in full precision under autocast, too: a bfloat16 share has steps of 1/256.
#include "core/model/region_head.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace triptych {
namespace {

constexpr double kOutputDeviation = 0.02;
constexpr double kFirstSize = 1.0 / 3;

/// A box of the least size could not shrink, so it starts a tenth of the way above.
at::Tensor first_region_bias(double least) {
  const double share = std::max(0.1, (kFirstSize - least) / (1 - least)), logit = std::log(share / (1 - share));
  return at::tensor({logit, logit, 0.0}, at::kFloat);
}

at::Tensor in_full_precision(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

}  // namespace

RegionHead::RegionHead(std::int64_t width, std::int64_t hidden, std::int64_t side, const Initializer& init,
                       double least)
    : width_(width),
      side_(side),
      least_(least),
      hidden_((init / "hidden").xavier_uniform("weight", {hidden, width})),
      output_weight_(parameter("output.weight", init.truncated_normal("output.weight", {3, hidden}, kOutputDeviation))),
      output_bias_(parameter("output.bias", first_region_bias(least))) {
  child("hidden", hidden_);
}

RegionBoxes RegionHead::forward(const at::Tensor& cell_nkd) const {
  TORCH_CHECK(cell_nkd.dim() == 3 && cell_nkd.size(1) == side_ * side_ && cell_nkd.size(2) == width_,
              "the region head takes states [n, ", side_ * side_, ", ", width_, "], got ", cell_nkd.sizes());
  const at::Tensor raw_nk3 =
      in_full_precision(at::linear(at::gelu(hidden_.forward(cell_nkd)), output_weight_, output_bias_));
  const at::Tensor size_nk2 = least_ + (1 - least_) * raw_nk3.narrow(2, 0, 2).sigmoid();
  const at::Tensor centre_k2 = cell_centres(side_, raw_nk3.options());
  const at::Tensor box_nk4 = at::cat({centre_k2 - size_nk2 / 2, centre_k2 + size_nk2 / 2}, 2).clamp(0, 1);
  return {box_nk4, size_nk2, raw_nk3.select(2, 2)};
}

Regions top_regions(const RegionBoxes& boxes, std::int64_t count) {
  const at::Tensor& logit_nk = boxes.confidence_logit_nk;
  TORCH_CHECK(count >= 1 && count <= logit_nk.size(1), "a picture of ", logit_nk.size(1), " cells has no ", count,
              " regions");
  const at::Tensor cell_nm =
      std::get<1>(logit_nk.detach().sort(/*stable=*/true, /*dim=*/1, /*descending=*/true)).narrow(1, 0, count);
  const auto chosen = [&](const at::Tensor& of_nkc) {
    return of_nkc.gather(1, cell_nm.unsqueeze(2).expand({-1, -1, of_nkc.size(2)}));
  };
  return {cell_nm, {chosen(boxes.box_nk4), chosen(boxes.size_nk2), logit_nk.gather(1, cell_nm)}};
}

at::Tensor cell_centres(std::int64_t side, const at::TensorOptions& options) {
  const at::Tensor steps = (at::arange(side, options) + 0.5) / side;
  return at::stack({steps.repeat({side}), steps.repeat_interleave(side)}, 1);
}

double region_sharpness(std::int64_t side) {
  return 4.0 * static_cast<double>(side);
}

at::Tensor soft_membership(const at::Tensor& size_nm2, const at::Tensor& cell_nm, std::int64_t side, double sharpness) {
  TORCH_CHECK(size_nm2.dim() == 3 && size_nm2.size(2) == 2 && size_nm2.size(0) == cell_nm.size(0) &&
                  size_nm2.size(1) == cell_nm.size(1),
              "membership takes sizes [n, m, 2] and cells [n, m], got ", size_nm2.sizes(), " and ", cell_nm.sizes());
  const at::Tensor centre_k2 = cell_centres(side, size_nm2.options());
  const at::Tensor own_nm2 = centre_k2.index_select(0, cell_nm.flatten()).view(size_nm2.sizes());
  const at::Tensor step_nmk2 = centre_k2 - own_nm2.unsqueeze(2);
  const at::Tensor away_nmk2 = at::maximum(step_nmk2, -step_nmk2);  // abs has no meta kernel
  const auto along = at::sigmoid(sharpness * (size_nm2.unsqueeze(2) / 2 - away_nmk2)).unbind(3);
  return along[0] * along[1];
}

at::Tensor hard_membership(const at::Tensor& soft_nmk, const at::Tensor& cell_nm) {
  return (soft_nmk.detach() > 0.5).scatter(2, cell_nm.unsqueeze(2), true);
}

at::Tensor pooled_regions(const at::Tensor& member_nmk, const at::Tensor& cell_nkd) {
  TORCH_CHECK(member_nmk.dim() == 3 && cell_nkd.dim() == 3 && member_nmk.size(0) == cell_nkd.size(0) &&
                  member_nmk.size(2) == cell_nkd.size(1),
              "pooling takes memberships [n, m, cells] of [n, cells, d], got ", member_nmk.sizes(), " of ",
              cell_nkd.sizes());
  const auto type = at::promote_types(at::promote_types(member_nmk.scalar_type(), cell_nkd.scalar_type()), at::kFloat);
  const at::Tensor weight_nmk = member_nmk.to(type);
  return at::bmm((weight_nmk / weight_nmk.sum(2, /*keepdim=*/true)).to(cell_nkd.scalar_type()), cell_nkd);
}

}  // namespace triptych

// One masked log-sum-exp a row serves all of the row's own locals, so that nothing of size (b l) x (n l) exists.
#include "losses/local_contrast.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "losses/known_gradients.h"

namespace triptych {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::int64_t floor_sqrt(std::int64_t n) {
  auto root = static_cast<std::int64_t>(std::sqrt(static_cast<double>(n)));
  while (root * root > n) --root;
  while ((root + 1) * (root + 1) <= n) ++root;
  return root;
}

void check_shapes(const at::Tensor& global_bd, const LocalKeys& keys) {
  const auto& local = keys.local_nld;
  TORCH_CHECK(global_bd.dim() == 2 && global_bd.size(0) > 0 && global_bd.is_floating_point(),
              "global features must be [b > 0, d], got ", global_bd.scalar_type(), " ", global_bd.sizes());
  TORCH_CHECK(local.defined() && local.dim() == 3 && local.size(2) == global_bd.size(1) && local.is_floating_point() &&
                  keys.own >= 0 && keys.own + global_bd.size(0) <= local.size(0),
              "local features must be [n, l, d] with the own samples of the ", global_bd.sizes(),
              " global ones from row ", keys.own, " on, got ", local.defined() ? local.sizes() : at::IntArrayRef());
  TORCH_CHECK(!keys.valid_nl.defined() || (keys.valid_nl.scalar_type() == at::kBool &&
                                           keys.valid_nl.sizes() == at::IntArrayRef({local.size(0), local.size(1)})),
              "valid locals must be marked by bool [", local.size(0), ", ", local.size(1), "]");
}

/// [b, l], the share of each own local in the loss; 0 where it is not valid.
at::Tensor shares(std::int64_t b, const LocalKeys& keys, LocalMean mean, const at::TensorOptions& options) {
  at::Tensor share_bl = keys.valid_nl.defined() ? keys.valid_nl.narrow(0, keys.own, b).to(options)
                                                : at::ones({b, keys.local_nld.size(1)}, options);
  const at::Tensor items = mean == LocalMean::kAll ? share_bl.sum() : share_bl.sum(1, true) * b;
  return share_bl / items.clamp_min(1);
}

/// The loss and its derivatives.
struct LocalLoss {
  at::Tensor value, by_global_bd, by_scale;
};

LocalLoss derive(const at::Tensor& global_in, const LocalKeys& keys, double scale, LocalMean mean) {
  const c10::NoGradGuard no_grad;
  const auto type = global_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor global_bd = global_in.to(type),
                   share_bl = shares(global_bd.size(0), keys, mean, global_bd.options());
  at::Tensor local_nld = keys.local_nld.to(type), ignored_nl;
  if (keys.valid_nl.defined()) {
    ignored_nl = keys.valid_nl.logical_not();
    local_nld = local_nld.masked_fill(ignored_nl.unsqueeze(2), 0);  // anything may stand there, and NaN * 0 is NaN
  }
  const std::int64_t b = global_bd.size(0), n = local_nld.size(0), l = local_nld.size(1);
  const at::Tensor local_Kd = local_nld.flatten(0, 1);  // K = n l
  at::Tensor value = at::zeros({}, global_bd.options().dtype(at::kDouble)),
             by_global_bd = at::empty(global_bd.sizes(), global_bd.options());
  for (std::int64_t row = 0; row < b; row += kLocalBlockRows) {
    const std::int64_t rows = std::min(kLocalBlockRows, b - row);
    const at::Tensor share = share_bl.narrow(0, row, rows);
    at::Tensor s = at::empty({rows, n, l}, global_bd.options()), s_rK = s.view({rows, n * l});
    at::mm_out(s_rK, global_bd.narrow(0, row, rows), local_Kd.t());  // autocast would round the other form
    s.mul_(scale);
    at::Tensor own = s.narrow(1, keys.own + row, rows).diagonal(0, 0, 1).t();  // [rows, l], a view
    const at::Tensor own_s = own.clone();
    own.fill_(-kInfinity);
    if (ignored_nl.defined()) s.masked_fill_(ignored_nl, -kInfinity);
    const at::Tensor others = s.logsumexp({1, 2}).unsqueeze(1);  // N [rows, 1]; -inf: there are none
    const at::Tensor margin = own_s - others;                    // +inf then: loss and derivatives are 0
    value -= (share * at::log_sigmoid(margin)).sum(at::kDouble);
    const at::Tensor by_others = share * margin.neg().sigmoid();  // dL/dN, a part from each own local; -dL/ds of it
    // dL/ds in place of s
    s.sub_(others.masked_fill(others == -kInfinity, 0).unsqueeze(2)).exp_();
    s.mul_(by_others.sum(1).view({rows, 1, 1}));
    own.copy_(by_others.neg());
    at::Tensor gradient = by_global_bd.narrow(0, row, rows);
    at::mm_out(gradient, s_rK, local_Kd);
  }
  // sum_jk dL/ds_ijk g_i . h_jk, by linearity
  const at::Tensor by_scale = (global_bd * by_global_bd).sum(at::kDouble);
  return {value.to(type), by_global_bd.mul_(scale).to(global_in.scalar_type()), by_scale};
}

}  // namespace

std::int64_t published_cells(std::int64_t side) {
  TORCH_CHECK(side > 0, "a grid of patches needs a side above 0, got ", side);
  const std::int64_t window = floor_sqrt(side);
  return side / window == window ? window : 0;
}

at::Tensor pooled_cells(const at::Tensor& patch_npd, std::int64_t cells, CellPooling pooling) {
  TORCH_CHECK(patch_npd.dim() == 3 && patch_npd.size(1) > 0, "patch features must be [n, side * side, d], got ",
              patch_npd.sizes());
  const std::int64_t side = floor_sqrt(patch_npd.size(1));
  TORCH_CHECK(side * side == patch_npd.size(1), "patch features must be of a square grid without class token, got ",
              patch_npd.sizes());
  const at::Tensor grid = patch_npd.transpose(1, 2).unflatten(2, {side, side});
  at::Tensor pooled;
  if (pooling == CellPooling::kPublished) {
    const std::int64_t window = published_cells(side);
    TORCH_CHECK(window > 0, "the published pooling cannot do a grid of ", side, " x ", side,
                " patches; pool to a number of cells instead");
    pooled = at::avg_pool2d(grid, {window, window}, {window, window});
  } else {
    TORCH_CHECK(cells > 0 && cells <= side, "cells must be in [1, ", side, "], the side of the grid, got ", cells);
    pooled = at::adaptive_avg_pool2d(grid, {cells, cells});
  }
  return pooled.flatten(2).transpose(1, 2).contiguous();
}

at::Tensor local_contrast_loss(const at::Tensor& global_bd, const LocalKeys& keys, const at::Tensor& temperature,
                               LocalMean mean) {
  check_shapes(global_bd, keys);
  const at::Tensor scale = temperature.reciprocal();
  TORCH_CHECK(!(temperature.item<double>() <= 0), "the temperature must be above 0, got ",
              temperature.item<double>());  // NaN goes on
  const LocalLoss d = derive(global_bd, keys, scale.item<double>(), mean);
  return with_known_gradients(d.value, {{global_bd, d.by_global_bd}, {scale, d.by_scale.to(scale.scalar_type())}});
}

}  // namespace triptych

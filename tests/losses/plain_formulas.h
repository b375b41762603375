// The published formulas over a whole batch on one process, written as plainly as possible: loops, no tricks, fp64.
#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "core/types/batch.h"

namespace triptych {

/// T_ij: equal labels, and every row with itself.
inline at::Tensor plain_target(const at::Tensor& labels_B) {
  const std::int64_t n = labels_B.size(0);
  at::Tensor target = at::zeros({n, n}, at::kDouble);
  const auto* label = labels_B.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      if (i == j || (label[i] != kNoLabel && label[i] == label[j])) target[i][j] = 1;
    }
  }
  return target;
}

/// T = Y Y' where row i of Y has weight_i at its label and the rest at its other label.
inline at::Tensor plain_mixed_target(const at::Tensor& labels_B, const at::Tensor& other_B,
                                     const at::Tensor& weight_B) {
  const std::int64_t n = labels_B.size(0);
  const std::int64_t classes = std::max(labels_B.max().item<std::int64_t>(), other_B.max().item<std::int64_t>()) + 1;
  at::Tensor y = at::zeros({n, classes}, at::kDouble);
  for (std::int64_t i = 0; i < n; ++i) {
    y[i][labels_B[i].item<std::int64_t>()] += weight_B[i];
    y[i][other_B[i].item<std::int64_t>()] += 1 - weight_B[i];
  }
  return y.matmul(y.t());
}

/// UniCL: half the mean of row losses plus half the mean of column losses. text_Kd: K / B texts an image, one below the
/// other, each with its image's label. `mixed` replaces the target of the labels.
inline at::Tensor plain_unicl(const at::Tensor& image_Bd, const at::Tensor& text_Kd, const at::Tensor& labels_B,
                              const at::Tensor& scale, bool rows = true, bool columns = true,
                              const at::Tensor& mixed = {}) {
  const at::Tensor s = scale * image_Bd.matmul(text_Kd.t()), same = mixed.defined() ? mixed : plain_target(labels_B);
  const std::int64_t images = s.size(0), texts = s.size(1);
  at::Tensor target = at::zeros({images, texts}, at::kDouble);
  for (std::int64_t j = 0; j < texts; ++j) target.select(1, j).copy_(same.select(1, j / (texts / images)));
  at::Tensor row_sum = at::zeros({}, at::kDouble), column_sum = at::zeros({}, at::kDouble);
  for (std::int64_t i = 0; i < images; ++i) {
    row_sum = row_sum - (target[i] * (s[i] - s[i].exp().sum().log())).sum() / target[i].sum();
  }
  for (std::int64_t j = 0; j < texts; ++j) {
    const at::Tensor column = s.select(1, j), positive = target.select(1, j);
    column_sum = column_sum - (positive * (column - column.exp().sum().log())).sum() / positive.sum();
  }
  const at::Tensor row_mean = row_sum / static_cast<double>(images),
                   column_mean = column_sum / static_cast<double>(texts);
  if (rows && columns) return (row_mean + column_mean) / 2;
  return rows ? row_mean : column_mean;
}

/// SupCon, L_out. view_Bvd [B, V, d].
inline at::Tensor plain_supcon(const at::Tensor& view_Bvd, const at::Tensor& labels_B, double temperature) {
  const at::Tensor z = view_Bvd.flatten(0, 1);
  const at::Tensor same = plain_target(labels_B);
  const std::int64_t n = z.size(0), views = view_Bvd.size(1);
  at::Tensor total = at::zeros({}, at::kDouble);
  for (std::int64_t i = 0; i < n; ++i) {
    at::Tensor below = at::zeros({}, at::kDouble), above = at::zeros({}, at::kDouble);
    double positives = 0;
    for (std::int64_t a = 0; a < n; ++a) {
      if (a != i) below = below + (z[i].dot(z[a]) / temperature).exp();
    }
    for (std::int64_t p = 0; p < n; ++p) {
      if (p == i || same[i / views][p / views].item<double>() == 0) continue;
      above = above + z[i].dot(z[p]) / temperature - below.log();
      positives += 1;
    }
    total = total - above / positives;
  }
  return total / static_cast<double>(n);
}

}  // namespace triptych

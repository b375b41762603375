// Multinomial logistic regression with an L2 penalty: a convex problem with one answer, found without draws.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

/// What is fitted: classes of feature rows.
struct LogisticRows {
  at::Tensor features_nd;  ///< fp64, finite
  at::Tensor class_n;      ///< int64 in [0, classes)
  std::int64_t classes = 0;
};

struct LogisticModel {
  at::Tensor weight_Cd, bias_C;  ///< fp64
  double gradient = 0;           ///< largest magnitude of the loss's gradient there
  bool converged = false;        ///< gradient <= tolerance

  /// Scores before the softmax: [m, d] -> [m, classes].
  at::Tensor scores(const at::Tensor& features_md) const;
};

/// The minimum over W and b of
///   mean_i -log softmax(W x_i + b)_{y_i}  +  l2 / 2 * sum W^2
/// to a gradient of at most `tolerance` in every component. In scikit-learn's terms l2 = 1 / (C n). Newton's method
/// with conjugate gradients and backtracking (Nocedal and Wright 2006, algorithms 7.1 and 3.1), from zero.
LogisticModel fit_logistic(const LogisticRows& rows, double l2, double tolerance);

}  // namespace triptych

// Mean and deviation of a quantity whose scale nobody knows beforehand, as seen so far: labels that a network
// regresses.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "core/module/state.h"

namespace triptych {

/// Discounted sums A <- decay A + sums of count, x and x^2 over all ranks; mean = A_x / A_1 and variance =
/// A_xx / A_1 - mean^2. That is an exponential average over updates, each weighing as many as it has values, whose
/// quotients need no correction for the start at 0 (that of Adam, Kingma and Ba, arXiv:1412.6980, section 3, divides by
/// the same sum of weights). In fp64, where the difference of squares is harmless for means up to 1e5 deviations.
class RunningMoments {
 public:
  /// decay in [0, 1); device: of the values. Throws ConfigError for another decay.
  RunningMoments(double decay, at::Device device);
  /// What ranks add up: count, sum and sum of squares of `values` (any shape, may be empty), fp64 [3]. No gradient.
  static at::Tensor sums(const at::Tensor& values);
  /// sums_3: added over all ranks, so that every rank keeps the same state. Sums of no values, or that are not finite,
  /// change nothing. Waits for no device.
  void update(const at::Tensor& sums_3);
  at::Tensor mean() const;  ///< fp64 scalar; 0 before the first value
  /// fp64 scalar, biased; 1 before the first value and where all were 0. At least 1e-6 of the root mean square: below
  /// that are rounding errors of equal values.
  at::Tensor deviation() const;
  /// (values - mean) / deviation, in the values' type.
  at::Tensor standardised(const at::Tensor& values) const;
  /// The inverse.
  at::Tensor raw(const at::Tensor& standardised) const;
  /// One tensor, `name`.
  void visit_state(StateVisitor& visitor, const std::string& name);

 private:
  double decay_;
  at::Tensor sums_3_;  ///< fp64: of 1, x, x^2
};

}  // namespace triptych

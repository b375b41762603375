// Batch normalisation whose statistics are those of all ranks' rows, and whose running averages move once a step.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/module/forward_scope.h"
#include "core/module/module.h"

namespace triptych {

/// Ioffe and Szegedy (arXiv:1502.03167) over [n, channels, h, w]. Names are PyTorch's: weight, bias, running_mean,
/// running_var, num_batches_tracked.
/// While training, mean and variance are those of the micro-batch over all ranks (scope.sum_over_ranks; gradients flow
/// through them). Running averages take the mean over a step's micro-batches of their means and unbiased variances,
/// when the step has updated the weights; a forward without gradients (the first pass of gradient caching) does not
/// count. A norm whose weight is not trained (optimizer.freeze) uses its running averages, and they stay.
class BatchNorm : public Module {
 public:
  /// frozen: running averages are used in training, too, and do not move; weight and bias are trained.
  BatchNorm(std::int64_t channels, bool frozen, double eps = 1e-5, double momentum = 0.1);
  at::Tensor forward(const at::Tensor& x_nchw, const ForwardScope& scope) const;

 protected:
  void on_step_end(bool updated) override;

 private:
  at::Tensor by_running_averages(const at::Tensor& x) const;
  void remember(const at::Tensor& mean, const at::Tensor& biased_variance, double count) const;

  bool frozen_;
  double eps_, momentum_;
  at::Tensor weight_, bias_, running_mean_, running_var_, batches_;
  // Of this step's micro-batches so far.
  mutable at::Tensor mean_sum_, variance_sum_;
  mutable std::int64_t seen_ = 0;
};

}  // namespace triptych

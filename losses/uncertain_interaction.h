// What a network is told that predicts an interaction and how far off it may be: UNSIL (LOUPE, Li et al., NeurIPS 2022,
// arXiv:2208.02515, section 3.5, equation 12).
#pragma once
#include <ATen/core/Tensor.h>

#include "losses/counted_loss.h"

namespace triptych {

struct UncertainWeights {
  double beta1 = 1, beta2 = 1;
  double floor = 1e-3;  ///< least uncertainty that divides
};

/// The sum over t targets, and t, with I* what a sampler says:
///   sum = sum_t [ (I - I*)^2 / (beta1 sigma) + beta2 sigma ]
/// The best sigma is |I - I*| / sqrt(beta1 beta2). The paper's form is unbounded at sigma = 0, so below `floor` f the
/// tangent of 1 / sigma stands in for it, 1 / f + (f - sigma) / f^2 <= 2 / f: smooth, and where the error is large it
/// still raises sigma, which a plain bound would leave there for ever.
///   value_t, sigma_t [t] with gradient; wanted_t [t], a constant. None: 0 with zero gradient. Sums in fp32, for fp64
///   values in fp64.
CountedLoss uncertain_interaction_loss(const at::Tensor& value_t, const at::Tensor& sigma_t, const at::Tensor& wanted_t,
                                       const UncertainWeights& weights = {});

}  // namespace triptych

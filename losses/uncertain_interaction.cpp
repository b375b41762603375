// A sum of squares over uncertainties; the bound is chosen so that autograd needs no help.
#include "losses/uncertain_interaction.h"

#include <ATen/ATen.h>

namespace triptych {

CountedLoss uncertain_interaction_loss(const at::Tensor& value_t, const at::Tensor& sigma_t, const at::Tensor& wanted_t,
                                       const UncertainWeights& weights) {
  for (const auto* each : {&value_t, &sigma_t, &wanted_t}) {
    TORCH_CHECK(each->dim() == 1 && each->is_floating_point() && each->sizes() == value_t.sizes(),
                "values, uncertainties and targets must be floating point ", value_t.sizes(), ", got ",
                each->scalar_type(), " ", each->sizes());
  }
  const double f = weights.floor;
  TORCH_CHECK(weights.beta1 > 0 && weights.beta2 > 0 && f > 0, "beta1, beta2 and floor must be above 0, got ",
              weights.beta1, ", ", weights.beta2, " and ", f);
  const auto type = value_t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor sigma = sigma_t.to(type), off = value_t.to(type) - wanted_t.detach().to(value_t.device(), type);
  const at::Tensor inverse = at::where(sigma < f, (2 * f - sigma) / (f * f), sigma.clamp_min(f).reciprocal());
  return {(off * off * inverse / weights.beta1 + weights.beta2 * sigma).sum(), value_t.size(0)};
}

}  // namespace triptych

// Weights only: the towers of momentum methods have no running statistics.
#include "core/objective/momentum.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/fault_plan.h"
#include "core/module/flip_bit.h"

namespace triptych {

Momentum::Momentum(Module& model, Module& average) {
  const c10::NoGradGuard no_grad;
  const auto from = model.parameters(), to = average.parameters();
  TORCH_CHECK(from.size() == to.size(), "a momentum encoder of ", to.size(), " parameters for ", from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    TORCH_CHECK(from[i].name == to[i].name, "a momentum encoder with ", to[i].name, " for ", from[i].name);
    model_.push_back(from[i].tensor);
    average_.push_back(to[i].tensor);
    average_.back().copy_(model_.back());
  }
  average.requires_grad(false);
}

void Momentum::update(double m) {
  const auto order = fault_point(FaultPoint::kEma, FaultServes::kNumbers);
  const c10::NoGradGuard no_grad;
  at::_foreach_lerp_(average_, model_, 1 - m);
  if (order) flip_bit(average_.front());
}

}  // namespace triptych

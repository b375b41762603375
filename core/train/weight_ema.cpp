// One fused call for all weights.
#include "core/train/weight_ema.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "core/base/fault_plan.h"
#include "core/module/flip_bit.h"

namespace triptych {

WeightEma::WeightEma(const EmaConfig& config, std::vector<NamedTensor> weights) : decay_(config.decay) {
  for (auto& [name, tensor] : weights) {
    names_.push_back(kPrefix + name);
    averages_.push_back(tensor.detach().clone());
    weights_.push_back(std::move(tensor));
  }
}

void WeightEma::update() {
  const auto order = fault_point(FaultPoint::kEma, FaultServes::kNumbers);
  const c10::NoGradGuard no_grad;
  const auto n = static_cast<double>(++updates_);
  at::_foreach_lerp_(averages_, weights_, 1 - std::min(decay_, (1 + n) / (10 + n)));
  if (order) flip_bit(averages_.front());
}

void WeightEma::visit_state(StateVisitor& visitor) {
  visitor.integer("ema.updates", updates_);
  for (std::size_t i = 0; i < names_.size(); ++i) visitor.tensor(names_[i], averages_[i]);
}

void WeightEma::exchange() {
  const c10::NoGradGuard no_grad;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const at::Tensor weight = weights_[i].clone();
    weights_[i].copy_(averages_[i]);
    averages_[i].copy_(weight);
  }
}

WeightEma::InUse::InUse(WeightEma* ema) : ema_(ema) {
  if (ema_ != nullptr) ema_->exchange();
}

WeightEma::InUse::~InUse() {
  if (ema_ != nullptr) ema_->exchange();
}

}  // namespace triptych

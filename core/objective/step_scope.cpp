// Draws and backward of one step.
#include "core/objective/step_scope.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <stdexcept>

#include "core/base/fault_plan.h"
#include "core/module/keyed_random.h"

namespace triptych {

StepScope::StepScope(StepClock clock, std::uint64_t seed, Computation computation, Collectives& comm,
                     GradientSync* sync)
    : clock_(clock), seed_(seed), computation_(computation), comm_(comm), sync_(sync) {}

at::Generator StepScope::draws(Purpose purpose, std::int64_t first_position, at::Device device) const {
  const auto step = static_cast<std::uint64_t>(clock_.step), first = static_cast<std::uint64_t>(first_position);
  return keyed_generator(random_key(seed_, purpose, {step, first}), device);
}

ForwardScope StepScope::forward(Purpose purpose, std::int64_t first_position, at::Device device) {
  ForwardScope scope;
  scope.draws = draws(purpose, first_position, device);
  scope.ranks = comm_.size();
  if (comm_.size() > 1) scope.sum_over_ranks = [this](at::Tensor& t) { comm_.all_reduce_sum(t); };
  if (device.is_meta() && computation_.shape_ranks > 1) {
    scope.ranks = static_cast<int>(computation_.shape_ranks);
    scope.sum_over_ranks = [](at::Tensor&) {};  // no values, no sums
  }
  scope.attention = computation_.attention;
  scope.recompute = computation_.recompute;
  return scope;
}

at::Tensor StepScope::seed_gradient(const at::Tensor& loss, double share) const {
  return at::full_like(loss, share * computation_.loss_scale);
}

void StepScope::backward(const std::vector<at::Tensor>& roots, const std::vector<at::Tensor>& gradients, Last last) {
  if (synchronised_) throw std::logic_error("StepScope: backward after the last backward of a step");
  synchronised_ = last == Last::kYes;
  if (synchronised_ && sync_ != nullptr) sync_->before_last_backward(roots);
  if (fault_point(FaultPoint::kBackward, FaultServes::kNumbers)) {
    std::vector<at::Tensor> broken;
    for (const auto& gradient : gradients) broken.push_back(at::full_like(gradient, NAN));
    torch::autograd::backward(roots, broken);
    return;
  }
  torch::autograd::backward(roots, gradients);
}

at::Tensor StepScope::loss_rows(const at::Tensor& own) {
  return sharded() ? comm_.all_gather(own) : own;
}

void StepScope::end_shard() {
  if (sharded() && sync_ != nullptr) sync_->end_shard();
}

void StepScope::end_common() {
  if (sharded() && sync_ != nullptr) sync_->end_common();
}

}  // namespace triptych

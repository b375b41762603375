// Draws and backward of one step.
#include "core/objective/step_scope.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <stdexcept>

#include "core/module/keyed_random.h"

namespace triptych {

StepScope::StepScope(StepClock clock, std::uint64_t seed, Precision precision, Collectives& comm, GradientSync* sync)
    : clock_(clock), seed_(seed), precision_(precision), comm_(comm), sync_(sync) {}

at::Generator StepScope::draws(Purpose purpose, std::int64_t first_position, at::Device device) const {
  const auto step = static_cast<std::uint64_t>(clock_.step), first = static_cast<std::uint64_t>(first_position);
  return keyed_generator(random_key(seed_, purpose, {step, first}), device);
}

void StepScope::backward(const std::vector<at::Tensor>& roots, const std::vector<at::Tensor>& gradients, Last last) {
  if (synchronised_) throw std::logic_error("StepScope: backward after the last backward of a step");
  synchronised_ = last == Last::kYes;
  if (synchronised_ && sync_ != nullptr) sync_->before_last_backward(roots);
  torch::autograd::backward(roots, gradients);
}

}  // namespace triptych

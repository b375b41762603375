// Everything stays on the device: a step reads these moments without waiting.
#include "core/objective/running_moments.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

constexpr double kLeastShareOfRms = 1e-6;

}  // namespace

RunningMoments::RunningMoments(double decay, at::Device device)
    : decay_(decay), sums_3_(at::zeros({3}, at::TensorOptions(device).dtype(at::kDouble))) {
  if (!(decay >= 0 && decay < 1))
    throw ConfigError("the decay of running moments is " + number_text(decay) + "; it must be at least 0 and below 1");
}

at::Tensor RunningMoments::sums(const at::Tensor& values) {
  const at::Tensor x = values.detach().to(at::kDouble);
  const at::Tensor count = at::full({}, x.numel(), x.options());
  return at::stack({count, x.sum(), x.square().sum()});
}

void RunningMoments::update(const at::Tensor& sums_3) {
  const c10::NoGradGuard no_grad;
  TORCH_CHECK(sums_3.dim() == 1 && sums_3.size(0) == 3 && sums_3.scalar_type() == at::kDouble,
              "running moments take sums fp64 [3], got ", sums_3.scalar_type(), " ", sums_3.sizes());
  const at::Tensor finite = (sums_3 - sums_3 == 0).all();  // isfinite has no meta kernel
  const at::Tensor usable = (sums_3.select(0, 0) > 0) & finite;
  sums_3_.copy_(at::where(usable, sums_3_ * decay_ + sums_3, sums_3_));
}

at::Tensor RunningMoments::mean() const {
  const at::Tensor count = sums_3_.select(0, 0);
  return at::where(count > 0, sums_3_.select(0, 1) / count, 0.0);
}

at::Tensor RunningMoments::deviation() const {
  const at::Tensor count = sums_3_.select(0, 0);
  const at::Tensor square = at::where(count > 0, sums_3_.select(0, 2) / count, 0.0);
  const at::Tensor least = kLeastShareOfRms * square.sqrt();
  const at::Tensor deviation = at::maximum((square - mean().square()).clamp_min(0).sqrt(), least);
  return at::where(deviation > 0, deviation, 1.0);
}

at::Tensor RunningMoments::standardised(const at::Tensor& values) const {
  return ((values.to(at::kDouble) - mean()) / deviation()).to(values.scalar_type());
}

at::Tensor RunningMoments::raw(const at::Tensor& standardised) const {
  return (standardised.to(at::kDouble) * deviation() + mean()).to(standardised.scalar_type());
}

void RunningMoments::visit_state(StateVisitor& visitor, const std::string& name) {
  visitor.tensor(name, sums_3_);
}

}  // namespace triptych

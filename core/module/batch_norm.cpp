// Batch norm: torch's kernel for one rank, merged moments for several.
#include "core/module/batch_norm.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace triptych {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using SumOverRanks = std::function<void(at::Tensor&)>;

struct SumHolder : torch::CustomClassHolder {
  SumOverRanks sum;
};

/// y = sum of x over ranks. Every rank's result depends on every rank's x, so the gradient is the sum over ranks, too.
struct RankSum : torch::autograd::Function<RankSum> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const c10::intrusive_ptr<SumHolder>& sum) {
    context->saved_data["sum"] = c10::IValue::make_capsule(sum);
    at::Tensor total = x.clone();
    sum->sum(total);
    return total;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    at::Tensor total = gradients[0].contiguous().clone();
    static_cast<const SumHolder&>(*context->saved_data["sum"].toCapsule()).sum(total);
    return {total, {}};
  }
};

at::Tensor rank_sum(const at::Tensor& x, const SumOverRanks& sum) {
  auto holder = c10::make_intrusive<SumHolder>();
  holder->sum = sum;
  return RankSum::apply(x, holder);
}

at::Tensor each(const at::Tensor& values_c) {
  return values_c.view({1, -1, 1, 1});
}

struct Moments {
  at::Tensor mean, variance;  ///< [channels], biased
  double count;               ///< values of a channel
};

/// Of all ranks, merged as Chan et al. (1979) do: no difference of large squares. Every rank has as many values.
Moments moments_over_ranks(const at::Tensor& x, const SumOverRanks& sum) {
  const auto [variance, mean] = at::var_mean(x, {0, 2, 3}, /*correction=*/0);
  at::Tensor ranks = at::ones({1}, mean.options());
  sum(ranks);
  const double size = ranks.is_meta() ? 1 : ranks.item<double>();  // shapes alone: any number does
  const at::Tensor of_all = rank_sum(mean, sum) / size;
  const at::Tensor within_and_between = rank_sum(variance + (mean - of_all).square(), sum) / size;
  const double mine = static_cast<double>(x.numel()) / static_cast<double>(x.size(1));
  return {of_all, within_and_between, mine * size};
}

}  // namespace

BatchNorm::BatchNorm(std::int64_t channels, bool frozen, double eps, double momentum)
    : frozen_(frozen),
      eps_(eps),
      momentum_(momentum),
      weight_(parameter("weight", at::ones({channels}))),
      bias_(parameter("bias", at::zeros({channels}))),
      running_mean_(buffer("running_mean", at::zeros({channels}))),
      running_var_(buffer("running_var", at::ones({channels}))),
      batches_(buffer("num_batches_tracked", at::zeros({}, at::kLong))) {}

at::Tensor BatchNorm::by_running_averages(const at::Tensor& x) const {
  return at::batch_norm(x, weight_, bias_, running_mean_, running_var_, /*training=*/false, 0, eps_,
                        /*cudnn_enabled=*/true);
}

at::Tensor BatchNorm::forward(const at::Tensor& x, const ForwardScope& scope) const {
  if (frozen_ || !training()) return by_running_averages(x);
  if (!scope.sum_over_ranks) {
    const auto [y, mean, inverse] = at::native_batch_norm(x, weight_, bias_, {}, {}, /*training=*/true, 0, eps_);
    const double count = static_cast<double>(x.numel()) / static_cast<double>(x.size(1));
    if (c10::GradMode::is_enabled()) remember(mean, inverse.pow(-2) - eps_, count);
    return y;
  }
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  const Moments moments = moments_over_ranks(wide, scope.sum_over_ranks);
  if (c10::GradMode::is_enabled()) remember(moments.mean, moments.variance, moments.count);
  const at::Tensor slope = weight_ * at::rsqrt(moments.variance + eps_);
  return at::addcmul(each(bias_ - moments.mean * slope), wide, each(slope)).to(x.scalar_type());
}

void BatchNorm::remember(const at::Tensor& mean, const at::Tensor& biased_variance, double count) const {
  const c10::NoGradGuard no_grad;
  const at::Tensor variance = biased_variance.detach() * (count / std::max(count - 1, 1.0));
  mean_sum_ = seen_ == 0 ? mean.detach().clone() : mean_sum_ + mean.detach();
  variance_sum_ = seen_ == 0 ? variance : variance_sum_ + variance;
  ++seen_;
}

void BatchNorm::on_step_end(bool updated) {
  if (seen_ == 0) return;
  const c10::NoGradGuard no_grad;
  const auto micro_batches = static_cast<double>(std::exchange(seen_, 0));
  const at::Tensor mean = std::move(mean_sum_) / micro_batches, variance = std::move(variance_sum_) / micro_batches;
  if (!updated) return;
  running_mean_.lerp_(mean.to(running_mean_.scalar_type()), momentum_);
  running_var_.lerp_(variance.to(running_var_.scalar_type()), momentum_);
  batches_.add_(1);
}

}  // namespace triptych

// AdamW over ATen's fused kernel (one call per group, CPU and GPU), and the norm of all gradients.
#include "core/train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "core/train/parameter_rules.h"

namespace triptych {
namespace {

/// Eight running sums in double, added in a fixed order: exact enough for any size, quick, the same on every machine.
template <class T>
double sum_of_squares(const T* values, std::int64_t count) {
  constexpr std::int64_t kLanes = 8;
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = static_cast<double>(values[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (; i < count; ++i) lanes[i % kLanes] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

double sum_of_squares(const at::Tensor& gradient) {
  const auto dense = gradient.contiguous();
  if (dense.scalar_type() == at::kDouble) return sum_of_squares(dense.const_data_ptr<double>(), dense.numel());
  return sum_of_squares(dense.const_data_ptr<float>(), dense.numel());
}

bool names(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

bool AdamW::decays(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() >= 2 && !name.ends_with("bias") && name.find("logit_scale") == std::string::npos;
}

AdamW::AdamW(const OptimizerConfig& config, std::vector<NamedTensor> parameters, const Exceptions& exceptions,
             Collectives& comm)
    : config_(config), parameters_(std::move(parameters)), shards_(parameters_, config.shard, comm) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& parameter = parameters_[i];
    const bool exempt = names(exceptions.no_decay, parameter.name) || !decays(parameter.name, parameter.tensor);
    const bool also = std::any_of(config.decay_also.begin(), config.decay_also.end(),
                                  [&](const auto& pattern) { return matches_name(parameter.name, pattern); });
    all_.push_back(i);
    (names(exceptions.apart, parameter.name) ? apart_ : together_).push_back(i);
    auto& group = group_of(!exempt || also, exceptions.lr_factors.empty() ? 1 : exceptions.lr_factors[i]);
    group.names.push_back(parameter.name);
    group.indices.push_back(i);
    group.parameters.push_back(parameter.tensor);
    group.means.push_back(shards_.own(i) ? at::zeros_like(parameter.tensor) : at::Tensor());
    group.squares.push_back(shards_.own(i) ? at::zeros_like(parameter.tensor) : at::Tensor());
    if (!group.step.defined()) group.step = at::zeros({}, parameter.tensor.options().dtype(at::kFloat));
  }
}

AdamW::Group& AdamW::group_of(bool decays, double lr_factor) {
  for (auto& group : groups_) {
    if (group.decays == decays && group.lr_factor == lr_factor) return group;
  }
  groups_.push_back({decays, lr_factor, {}, {}, {}, {}, {}, {}});
  return groups_.back();
}

double AdamW::gradient_norm() const {
  return norm_of(all_);
}

double AdamW::norm_of(const Indices& which) const {
  if (which.empty()) return 0;
  if (!parameters_[0].tensor.is_cpu()) {
    std::vector<at::Tensor> gradients;
    for (const auto i : which) gradients.push_back(parameters_[i].tensor.grad());
    return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2, at::kDouble))).item<double>();
  }
  std::vector<double> sums(which.size());
  at::parallel_for(0, static_cast<std::int64_t>(which.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) sums[i] = sum_of_squares(parameters_[which[i]].tensor.grad());
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void AdamW::clip(double norm) {
  if (config_.clip_norm == 0) return;
  const auto clip_part = [this](const Indices& which, double length) {
    const double factor = config_.clip_norm / (length + 1e-6);
    if (factor < 1) scale(which, factor);
  };
  if (apart_.empty()) return clip_part(all_, norm);
  clip_part(together_, norm_of(together_));
  clip_part(apart_, norm_of(apart_));
}

void AdamW::scale_gradients(double factor) {
  scale(all_, factor);
}

void AdamW::scale(const Indices& which, double factor) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto i : which) gradients.push_back(parameters_[i].tensor.grad());
  at::_foreach_mul_(gradients, factor);
}

void AdamW::update(double lr, std::optional<double> beta1) {
  const c10::NoGradGuard no_grad;
  ++updates_;
  for (auto& group : groups_) {
    std::vector<at::Tensor> parameters, gradients, means, squares;
    for (std::size_t i = 0; i < group.indices.size(); ++i) {
      if (!shards_.own(group.indices[i])) continue;
      parameters.push_back(group.parameters[i]);
      gradients.push_back(group.parameters[i].grad());
      means.push_back(group.means[i]);
      squares.push_back(group.squares[i]);
    }
    if (parameters.empty()) continue;  // all of the group are other ranks'
    const std::vector<at::Tensor> steps(parameters.size(), group.step.fill_(static_cast<double>(updates_)));
    at::_fused_adamw_(parameters, gradients, means, squares, {}, steps, lr * group.lr_factor,
                      beta1.value_or(config_.betas[0]), config_.betas[1], group.decays ? config_.weight_decay : 0,
                      config_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }
  shards_.share_parameters(parameters_);
}

void AdamW::hold_all() {
  each_moment([&](at::Tensor& moment, const Group& group, std::size_t i) {
    if (!moment.defined()) moment = at::zeros_like(group.parameters[i]);
  });
}

void AdamW::collect() {
  if (!shards_.sharded()) return;
  const c10::NoGradGuard no_grad;
  each_moment([&](at::Tensor& moment, const Group& group, std::size_t i) {
    const at::Tensor whole = shards_.to_root(moment, group.indices[i], group.parameters[i]);
    if (!moment.defined()) moment = whole;
  });
}

void AdamW::keep_own() {
  each_moment([&](at::Tensor& moment, const Group& group, std::size_t i) {
    if (!shards_.own(group.indices[i])) moment = at::Tensor();
  });
}

std::int64_t AdamW::moment_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& group : groups_) {
    for (const auto* moments : {&group.means, &group.squares})
      for (const auto& moment : *moments) bytes += moment.defined() ? static_cast<std::int64_t>(moment.nbytes()) : 0;
  }
  return bytes;
}

void AdamW::each_moment(const std::function<void(at::Tensor&, const Group&, std::size_t)>& use) {
  for (auto& group : groups_) {
    for (auto* moments : {&group.means, &group.squares})
      for (std::size_t i = 0; i < moments->size(); ++i) use((*moments)[i], group, i);
  }
}

void AdamW::visit_state(StateVisitor& visitor) {
  visitor.integer("optimizer.updates", updates_);
  for (auto& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      visitor.tensor("optimizer.exp_avg." + group.names[i], group.means[i]);
      visitor.tensor("optimizer.exp_avg_sq." + group.names[i], group.squares[i]);
    }
  }
}

std::vector<std::string> AdamW::decayed() const {
  std::vector<std::string> names;
  for (const auto& group : groups_) {
    if (group.decays) names.insert(names.end(), group.names.begin(), group.names.end());
  }
  return names;
}

}  // namespace triptych

// Loss first, towers after.
#include "core/objective/gradient_cache.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace triptych {
namespace {

using Tensors = std::vector<at::Tensor>;

at::Tensor leaf(const at::Tensor& value) {
  return value.detach().clone().set_requires_grad(true);
}

Tensors leaves(const Tensors& values) {
  Tensors result;
  for (const auto& value : values) result.push_back(leaf(value));
  return result;
}

/// The k-th encoding of every micro-batch, one below the other.
Tensors concatenated(const std::vector<Tensors>& encoded) {
  Tensors rows;
  for (std::size_t k = 0; k < encoded.front().size(); ++k) {
    Tensors parts;
    for (const auto& one : encoded) parts.push_back(one[k]);
    rows.push_back(at::cat(parts));
  }
  return rows;
}

}  // namespace

LossReport accumulate_cached(const CachedForward& forward, StepScope& scope) {
  const bool replay = forward.micro_batches > 1;
  std::vector<Tensors> encoded;
  for (std::size_t i = 0; i < forward.micro_batches; ++i) {
    const c10::AutoGradMode graph(!replay);
    encoded.push_back(forward.encode(i));
  }
  const Tensors rows = leaves(concatenated(encoded)), parameters = leaves(forward.parameters);
  const LossOutput loss = forward.loss(rows, parameters);
  scope.backward({loss.total}, {at::ones_like(loss.total)}, Last::kNo);

  std::int64_t first = 0;
  for (std::size_t i = 0; i < forward.micro_batches; ++i) {
    Tensors roots = replay ? forward.encode(i) : encoded[i], gradients;
    const std::int64_t count = roots.front().size(0);
    for (const auto& all : rows) gradients.push_back(all.grad().narrow(0, first, count));
    first += count;
    const bool last = i + 1 == forward.micro_batches;
    if (last) {
      roots.insert(roots.end(), forward.parameters.begin(), forward.parameters.end());
      for (const auto& parameter : parameters) gradients.push_back(parameter.grad());
    }
    scope.backward(roots, gradients, last ? Last::kYes : Last::kNo);
  }
  return {loss.total.detach(), loss.terms};
}

}  // namespace triptych

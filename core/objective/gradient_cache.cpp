// Loss first, towers after.
#include "core/objective/gradient_cache.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace triptych {
namespace {

using Tensors = std::vector<at::Tensor>;

Tensors leaves(const Tensors& values) {
  Tensors result;
  for (const auto& value : values) result.push_back(cut_leaf(value));
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

/// Where a backward starts: what requires no gradient, as all of a frozen tower, is left out.
struct Roots {
  Tensors tensors, gradients;
  void add(const at::Tensor& root, const at::Tensor& gradient) {
    if (!root.requires_grad()) return;
    tensors.push_back(root);
    gradients.push_back(gradient);
  }
};

/// What the loss is given of every encoding: this rank's rows, or all ranks' with virtual shards.
Tensors rows_of_loss(const std::vector<Tensors>& encoded, StepScope& scope) {
  Tensors rows;
  for (const auto& own : concatenated(encoded)) rows.push_back(cut_leaf(scope.loss_rows(own)));
  return rows;
}

std::int64_t rows_in(const std::vector<Tensors>& encoded) {
  std::int64_t rows = 0;
  for (const auto& one : encoded) rows += one.front().size(0);
  return rows;
}

/// The loss, of which nothing stays: what it remembers of all ranks' rows must not stand beside the towers'
/// activations.
LossReport differentiated(const CachedForward& forward, const Tensors& rows, const Tensors& parameters,
                          StepScope& scope) {
  const LossOutput loss = forward.loss(rows, parameters);
  scope.backward({loss.total}, {scope.seed_gradient(loss.total)}, Last::kNo);
  return {loss.total.detach(), loss.terms};
}

}  // namespace

at::Tensor cut_leaf(const at::Tensor& value) {
  return value.detach().clone().set_requires_grad(true);
}

LossReport accumulate_cached(const CachedForward& forward, StepScope& scope) {
  const bool replay = forward.micro_batches > 1;
  std::vector<Tensors> encoded;
  for (std::size_t i = 0; i < forward.micro_batches; ++i) {
    const c10::AutoGradMode graph(!replay);
    encoded.push_back(forward.encode(i));
  }
  const Tensors rows = rows_of_loss(encoded, scope), parameters = leaves(forward.parameters);
  const std::int64_t own = rows_in(encoded);
  if (replay) encoded.clear();
  const LossReport report = differentiated(forward, rows, parameters, scope);
  const auto add_parameters = [&](Roots& roots) {
    for (std::size_t k = 0; k < parameters.size(); ++k) roots.add(forward.parameters[k], parameters[k].grad());
  };
  if (scope.sharded()) {
    Roots common;
    add_parameters(common);
    if (!common.tensors.empty()) scope.backward(common.tensors, common.gradients, Last::kNo);
    scope.end_common();
  }

  std::int64_t first = scope.first_loss_row(own);
  for (std::size_t i = 0; i < forward.micro_batches; ++i) {
    const Tensors encodings = replay ? forward.encode(i) : encoded[i];
    const std::int64_t count = encodings.front().size(0);
    Roots roots;
    for (std::size_t k = 0; k < rows.size(); ++k) roots.add(encodings[k], rows[k].grad().narrow(0, first, count));
    first += count;
    const bool last = i + 1 == forward.micro_batches;
    if (last && !scope.sharded()) add_parameters(roots);
    if (!roots.tensors.empty()) scope.backward(roots.tensors, roots.gradients, last ? Last::kYes : Last::kNo);
    scope.end_shard();
  }
  return report;
}

}  // namespace triptych

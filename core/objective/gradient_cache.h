// Loss first, towers after: exact gradients of a loss over the whole global batch, whatever the micro-batch
// (Gao et al., arXiv:2101.06983).
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "core/objective/step_scope.h"
#include "core/types/batch.h"
#include "losses/loss_output.h"

namespace triptych {

/// A copy of the values as a leaf that collects its own gradient, cut from where they came from: what a loss is
/// differentiated at before the towers are. Any shape.
at::Tensor cut_leaf(const at::Tensor& value);

struct CachedForward {
  std::size_t micro_batches = 1;
  /// What the loss needs of micro-batch i, each [rows, ...]; with graph when gradients are enabled. Called twice for
  /// each micro-batch if there are several, and must then give the same values (keyed draws).
  std::function<std::vector<at::Tensor>(std::size_t i)> encode;
  /// Parameters that the loss uses directly, such as the logit scale.
  std::vector<at::Tensor> parameters;
  /// The loss of all local rows: `rows` are the concatenated encodings (with virtual shards all ranks', and the loss is
  /// that of one rank that holds them: StepScope::loss_comm), `parameters` stand for those above. Collective.
  std::function<LossOutput(const std::vector<at::Tensor>& rows, const std::vector<at::Tensor>& parameters)> loss;
};

/// 1. encodes all local rows, without graph if there are several micro-batches;
/// 2. differentiates the loss at detached rows and parameters;
/// 3. encodes each micro-batch (again) and differentiates it from those gradients. The last one, together with the
///    parameters, is the step's last backward: each parameter gets its gradient exactly once in it.
/// With virtual shards the parameters of the loss are differentiated first, by themselves. Collective.
LossReport accumulate_cached(const CachedForward& forward, StepScope& scope);

}  // namespace triptych

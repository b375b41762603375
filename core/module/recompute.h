// Activation checkpointing: memory for time, the same gradients to the last bit.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "core/module/forward_scope.h"
#include "core/module/module.h"

namespace triptych {

using RecomputedBlock = std::function<at::Tensor(const std::vector<at::Tensor>& inputs, const ForwardScope& scope)>;

/// block(inputs, scope), of which only the inputs are kept: backward runs it once more, with the same draws and under
/// the same autocast (Chen et al., arXiv:1604.06174). `block` may use the parameters of `owner` and must outlive
/// backward with whatever it captures; what it captures gets no gradient. Without gradients enabled, or with
/// scope.recompute off, the block simply runs.
at::Tensor recomputed(const Module& owner, const std::vector<at::Tensor>& inputs, const ForwardScope& scope,
                      const RecomputedBlock& block);

}  // namespace triptych

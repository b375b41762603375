// What a forward pass may use beside its inputs and parameters. Lent by the objective for one micro-batch.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>

namespace triptych {

/// How attention is computed. kRule: what attention_rule() says.
enum class AttentionPath { kRule, kPlain, kFused };

struct ForwardScope {
  /// Feeds drop path, dropout and patch dropout, in the order of the layers. May be undefined in evaluation mode.
  at::Generator draws = {};
  /// Sums a tensor over all ranks, in place; collective. What batch norms share, if there are several.
  std::function<void(at::Tensor&)> sum_over_ranks = {};
  int ranks = 1;
  AttentionPath attention = AttentionPath::kRule;
  /// Blocks keep their input only, and run again in backward (recompute.h).
  bool recompute = false;
};

}  // namespace triptych

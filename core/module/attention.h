// Scaled dot-product attention (Vaswani et al., arXiv:1706.03762) and the rule that picks its kernel.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/module/forward_scope.h"

namespace triptych {

struct AttentionForm {
  bool causal = false;   ///< a token sees itself and those before it
  at::Tensor bias = {};  ///< added to the scores, broadcast to [..., heads, queries, keys]; undefined: none
  bool learnt_bias = false;
  double dropout = 0;  ///< of the probabilities; draws from scope.draws
};

/// softmax(query key' / sqrt(width) + bias) value. query [..., heads, queries, width], key and value
/// [..., heads, keys, width] -> [..., heads, queries, width]. With a bias that is learnt or with dropout the plain
/// form is taken, whatever the scope says: fused kernels round such a bias, and draw from torch's own generator.
at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const AttentionForm& form,
                  const ForwardScope& scope);

/// A fixed rule, found by `triptych bench attention` (docs/performance.md has the table); never timed at run time.
/// dtype: of the products. Returns kPlain or kFused.
AttentionPath attention_rule(at::DeviceType device, at::ScalarType dtype, std::int64_t tokens);

/// Fewest tokens for which a processor takes the fused kernel in bfloat16.
inline constexpr std::int64_t kFusedBf16Tokens = 192;

}  // namespace triptych

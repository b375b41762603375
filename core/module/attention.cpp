// Attention: the plain form, torch's fused kernels, and dropout from explicit draws.
#include "core/module/attention.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "core/module/keyed_random.h"

namespace triptych {
namespace {

/// Spelled out, because torch's own form draws from the default generator.
at::Tensor with_dropout(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                        const AttentionForm& form, const at::Generator& draws) {
  at::Tensor scores = at::matmul(query / std::sqrt(static_cast<double>(query.size(-1))), key.transpose(-2, -1));
  if (form.bias.defined()) scores = scores + form.bias;
  if (form.causal) {
    const at::Tensor later = at::ones({query.size(-2), key.size(-2)}, scores.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(later, -std::numeric_limits<double>::infinity());
  }
  return at::matmul(keyed_dropout(scores.softmax(-1), form.dropout, draws), value);
}

/// The type that products of `x` are taken in: autocast's, where it is on.
at::ScalarType product_type(const at::Tensor& x) {
  const auto device = x.device().type();
  return at::autocast::is_autocast_enabled(device) ? at::autocast::get_autocast_dtype(device) : x.scalar_type();
}

}  // namespace

AttentionPath attention_rule(at::DeviceType device, at::ScalarType dtype, std::int64_t tokens) {
  // On processors the fused kernel runs thousands of tiny products on short bfloat16 rows.
  const bool plain = device == at::kCPU && dtype == at::kBFloat16 && tokens < kFusedBf16Tokens;
  return plain ? AttentionPath::kPlain : AttentionPath::kFused;
}

at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const AttentionForm& form,
                  const ForwardScope& scope) {
  if (form.dropout > 0) return with_dropout(query, key, value, form, scope.draws);
  const auto path = scope.attention != AttentionPath::kRule
                        ? scope.attention
                        : attention_rule(query.device().type(), product_type(query), query.size(-2));
  const std::optional<at::Tensor> bias = form.bias.defined() ? std::optional(form.bias) : std::nullopt;
  if (path == AttentionPath::kPlain || form.learnt_bias) {
    return std::get<0>(at::_scaled_dot_product_attention_math(query, key, value, bias, 0.0, form.causal));
  }
  return at::scaled_dot_product_attention(query, key, value, bias, 0.0, form.causal);
}

}  // namespace triptych

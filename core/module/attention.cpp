// Attention: the plain form, torch's fused kernels, and dropout from explicit draws.
#include "core/module/attention.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "core/module/autocast.h"
#include "core/module/keyed_random.h"
#include "core/module/meta_autocast.h"

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

AttentionPath path_by_rule(const at::Tensor& query) {
  const auto device = query.is_meta() ? MetaStandsFor::device() : query.device().type();
  return attention_rule(device, autocast_type(query.device().type()).value_or(query.scalar_type()), query.size(-2));
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
  const auto path = scope.attention != AttentionPath::kRule ? scope.attention : path_by_rule(query);
  const std::optional<at::Tensor> bias = form.bias.defined() ? std::optional(form.bias) : std::nullopt;
  if (path == AttentionPath::kPlain || form.learnt_bias) {
    return std::get<0>(at::_scaled_dot_product_attention_math(query, key, value, bias, 0.0, form.causal));
  }
  if (query.is_meta()) {  // torch would take the plain form
    return std::get<0>(
        at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, form.causal, bias, std::nullopt));
  }
  return at::scaled_dot_product_attention(query, key, value, bias, 0.0, form.causal);
}

}  // namespace triptych

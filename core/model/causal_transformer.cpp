// The text encoder's forward.
#include "core/model/causal_transformer.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "core/model/length_groups.h"

namespace triptych {
namespace {

TransformerShape shape_of(const CausalTransformerConfig& c) {
  return {.width = c.width,
          .depth = c.depth,
          .heads = c.heads,
          .mlp_ratio = c.mlp_ratio,
          .activation = c.activation,
          .norm_eps = c.norm_eps,
          .causal = true,
          .drop_path = 0};
}

}  // namespace

at::Tensor end_positions(const at::Tensor& tokens, std::optional<std::int64_t> end_token) {
  const std::int64_t context = tokens.size(1);
  const at::Tensor is_end = end_token ? tokens == *end_token : tokens == tokens.amax(1, /*keepdim=*/true);
  // argmax may return any of several equal entries, so the first one is spelled out.
  return at::where(is_end, at::arange(context, tokens.options()), context - 1).amin(1);
}

CausalTransformer::CausalTransformer(const CausalTransformerConfig& config, std::int64_t embed_dim,
                                     const Initializer& init)
    : config_(config),
      token_embedding_((init / "token_embedding").normal("weight", {vocabulary_size(config), config.width}, 0.02)),
      transformer_(shape_of(config), init / "transformer"),
      ln_final_(config.width, config.norm_eps) {
  positional_embedding_ =
      parameter("positional_embedding", init.normal("positional_embedding", {config.context, config.width}, 0.01));
  text_projection_ = parameter("text_projection",
                               init.normal("text_projection", {config.width, embed_dim}, std::pow(config.width, -0.5)));
  child("token_embedding", token_embedding_);
  child("transformer", transformer_);
  child("ln_final", ln_final_);
}

at::Tensor CausalTransformer::embedded(const at::Tensor& tokens) const {
  return token_embedding_.forward(tokens) + positional_embedding_.narrow(0, 0, tokens.size(1));
}

at::Tensor CausalTransformer::end_states(const at::Tensor& x_nld, const at::Tensor& end_n,
                                         const ForwardScope& scope) const {
  const at::Tensor end = end_n.view({-1, 1, 1}).expand({-1, 1, config_.width});
  return transformer_.forward(x_nld, scope).gather(1, end).squeeze(1);
}

at::Tensor CausalTransformer::forward(const at::Tensor& tokens, const ForwardScope& scope) const {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) == config_.context && tokens.scalar_type() == at::kLong,
              "the text encoder takes int64 [n, ", config_.context, "], got ", tokens.scalar_type(), " ",
              tokens.sizes());
  const at::Tensor end_n = end_positions(tokens, end_token(config_));
  const auto projected = [&](const at::Tensor& end_nd) {
    return at::matmul(ln_final_.forward(end_nd), text_projection_);
  };
  if (!config_.trim || tokens.is_meta()) return projected(end_states(embedded(tokens), end_n, scope));

  const LengthGroups groups(end_n + 1, config_.length_groups);
  const at::Tensor ordered_end_n = groups.ordered(end_n);
  // One look-up for all rows: the word table's gradient is dense, and a group of its own would write it again.
  const at::Tensor x_nld = embedded(groups.ordered(tokens).narrow(1, 0, groups.longest()));
  return projected(groups.each(x_nld, [&](const at::Tensor& part, std::int64_t begin) {
    return end_states(part, ordered_end_n.narrow(0, begin, part.size(0)), scope);
  }));
}

}  // namespace triptych

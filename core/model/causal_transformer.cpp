// The text encoder's forward.
#include "core/model/causal_transformer.h"

#include <ATen/ATen.h>

#include <cmath>

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

at::Tensor end_positions(const at::Tensor& tokens) {
  const std::int64_t context = tokens.size(1);
  const at::Tensor is_largest = tokens == tokens.amax(1, /*keepdim=*/true);
  // argmax may return any of several equal entries, so the first one is spelled out.
  return at::where(is_largest, at::arange(context, tokens.options()), context).amin(1);
}

CausalTransformer::CausalTransformer(const CausalTransformerConfig& config, std::int64_t embed_dim,
                                     const Initializer& init)
    : config_(config),
      token_embedding_((init / "token_embedding").normal("weight", {config.vocabulary, config.width}, 0.02)),
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

at::Tensor CausalTransformer::forward(const at::Tensor& tokens) const {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) == config_.context && tokens.scalar_type() == at::kLong,
              "the text encoder takes int64 [n, ", config_.context, "], got ", tokens.scalar_type(), " ",
              tokens.sizes());
  const at::Tensor end_n = end_positions(tokens);
  const std::int64_t longest = end_n.max().item<std::int64_t>() + 1;
  const at::Tensor x_nld =
      token_embedding_.forward(tokens.narrow(1, 0, longest)) + positional_embedding_.narrow(0, 0, longest);
  const at::Tensor state_nld = transformer_.forward(x_nld, at::Generator());
  const at::Tensor end_nd = state_nld.gather(1, end_n.view({-1, 1, 1}).expand({-1, 1, config_.width})).squeeze(1);
  return at::matmul(ln_final_.forward(end_nd), text_projection_);
}

}  // namespace triptych

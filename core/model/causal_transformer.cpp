// The text encoder's forward.
#include "core/model/causal_transformer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

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

/// Enough rows for full speed of a processor's matrix products, few enough that a long text costs its group only.
constexpr std::int64_t kRowsOfAGroup = 32;

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

at::Tensor CausalTransformer::forward(const at::Tensor& tokens) const {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) == config_.context && tokens.scalar_type() == at::kLong,
              "the text encoder takes int64 [n, ", config_.context, "], got ", tokens.scalar_type(), " ",
              tokens.sizes());
  const auto [end_n, order_n] = end_positions(tokens, end_token(config_)).sort(std::optional(true), /*dim=*/0);
  const at::Tensor lengths = (end_n + 1).cpu();
  const std::int64_t* length_n = lengths.const_data_ptr<std::int64_t>();
  const std::int64_t rows = tokens.size(0), longest = length_n[rows - 1];
  // One look-up for all rows: the word table's gradient is dense, and a group of its own would write it again.
  const at::Tensor x_nld = token_embedding_.forward(tokens.index_select(0, order_n).narrow(1, 0, longest)) +
                           positional_embedding_.narrow(0, 0, longest);
  const std::int64_t group = tokens.is_cpu() ? kRowsOfAGroup : rows;
  std::vector<at::Tensor> ends;
  for (std::int64_t begin = 0; begin < rows; begin += group) {
    const std::int64_t n = std::min(group, rows - begin);
    const at::Tensor part = x_nld.narrow(0, begin, n).narrow(1, 0, length_n[begin + n - 1]);
    const at::Tensor end = end_n.narrow(0, begin, n).view({-1, 1, 1}).expand({-1, 1, config_.width});
    ends.push_back(transformer_.forward(part, at::Generator()).gather(1, end).squeeze(1));
  }
  const at::Tensor end_nd = at::cat(ends).index_select(0, order_n.argsort());
  return at::matmul(ln_final_.forward(end_nd), text_projection_);
}

}  // namespace triptych

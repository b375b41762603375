// CLIP's causal text encoder. Names of parameters are OpenCLIP's, at the root of the model.
#pragma once
#include <optional>

#include "core/model/model_config.h"
#include "core/model/towers.h"
#include "core/model/transformer.h"

namespace triptych {

/// Row of the end token of each text: the FIRST position of `end_token`, or of the largest id where there is none given
/// (a tokenizer may pad with the end token itself); the last position where the text has no end token.
/// tokens int64 [n, context] -> int64 [n].
at::Tensor end_positions(const at::Tensor& tokens, std::optional<std::int64_t> end_token = std::nullopt);

class CausalTransformer : public TextTower {
 public:
  CausalTransformer(const CausalTransformerConfig& config, std::int64_t embed_dim, const Initializer& init);
  /// Reads the end token's state. Tokens behind it change nothing, as attention is causal: the rows are ordered by
  /// length and go through in groups, each cut to its longest text (config.trim, config.length_groups).
  at::Tensor forward(const at::Tensor& tokens, const ForwardScope& scope = {}) const override;

 private:
  /// [n, tokens, width] of rows that end at end_n, [n] -> the end tokens' states, [n, width].
  at::Tensor end_states(const at::Tensor& x_nld, const at::Tensor& end_n, const ForwardScope& scope) const;
  at::Tensor embedded(const at::Tensor& tokens) const;  ///< words and positions, [n, length] -> [n, length, width]

  CausalTransformerConfig config_;
  at::Tensor positional_embedding_, text_projection_;  ///< [context, width], [width, embed_dim]
  Embedding token_embedding_;
  Transformer transformer_;
  LayerNorm ln_final_;
};

}  // namespace triptych

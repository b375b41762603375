// BERT's layers (Devlin et al., arXiv:1810.04805), post-norm, with cross-attention to image tokens where a fusion
// encoder has it. Names of parameters are Hugging Face's without "bert.".
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/model/text_tower_config.h"
#include "core/module/attention.h"
#include "core/module/layers.h"

namespace triptych {

/// Attention, projection, dropout, residual and norm.
class BertAttention : public Module {
 public:
  /// key_width: channels of what keys and values are made from.
  BertAttention(const BertConfig& config, std::int64_t key_width, const Initializer& init);
  /// x [n, tokens, width] attends to states [n, keys, key width]; bias (may be undefined) is added to the scores,
  /// [n, 1, 1, keys].
  at::Tensor forward(const at::Tensor& x_nld, const at::Tensor& states_nkc, const at::Tensor& bias,
                     const ForwardScope& scope) const;

 private:
  std::int64_t heads_;
  double dropout_;
  Linear query_, key_, value_, output_;
  LayerNorm norm_;
};

/// Self-attention, cross-attention if there is one, MLP.
class BertLayer : public Module {
 public:
  /// image_width: channels of the image tokens; 0: no cross-attention.
  BertLayer(const BertConfig& config, std::int64_t image_width, const Initializer& init);
  /// [n, tokens, width]; padding [n, 1, 1, tokens], added to the scores; image_nkc: where the layer looks at images.
  at::Tensor forward(const at::Tensor& x_nld, const at::Tensor& padding, const at::Tensor& image_nkc,
                     const ForwardScope& scope) const;

 private:
  double dropout_;
  BertAttention attention_;
  std::unique_ptr<BertAttention> crossattention_;
  Linear intermediate_, output_;
  LayerNorm output_norm_;
};

/// Embeddings, `depth` layers of text and, above them, layers that look at images.
class BertEncoder : public Module {
 public:
  /// fusion_depth layers behind config.depth, numbered on: encoder.layer.{depth} is the first with cross-attention.
  BertEncoder(const BertConfig& config, std::int64_t fusion_depth, std::int64_t image_width, const Initializer& init);
  /// Tokens int64 [n, tokens] -> [n, tokens, width] before the first layer.
  at::Tensor embedded(const at::Tensor& tokens, const ForwardScope& scope) const;
  std::int64_t depth() const { return static_cast<std::int64_t>(layers_.size()); }
  /// Layers [first, last).
  at::Tensor layers(std::int64_t first, std::int64_t last, at::Tensor x_nld, const at::Tensor& padding,
                    const at::Tensor& image_nkc, const ForwardScope& scope) const;
  /// The word table [vocabulary, width], to which a language-model head is tied.
  const at::Tensor& words() const { return words_.weight(); }

 private:
  double dropout_;
  Embedding words_, positions_, types_;
  LayerNorm norm_;
  std::vector<std::unique_ptr<BertLayer>> layers_;
};

/// Tokens of this id are padding, and no token sees them.
inline constexpr std::int64_t kBertPadding = 0;

/// [n, 1, 1, tokens]: -infinity for padding, 0 for tokens.
at::Tensor bert_padding(const at::Tensor& tokens, at::ScalarType type);

/// Tokens of each row up to its last that is no padding, at least 1: int64 [n].
at::Tensor text_lengths(const at::Tensor& tokens);

/// Initial weight of a projection: normal with deviation 0.02, cut at two deviations, as BERT's.
at::Tensor bert_weight(const Initializer& init, std::int64_t out, std::int64_t in);

inline constexpr double kBertNormEps = 1e-12;

}  // namespace triptych

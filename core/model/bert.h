// BERT (Devlin et al., arXiv:1810.04805) as a text encoder: post-norm layers, the state of [CLS] projected. Names of
// parameters are Hugging Face's without "bert.", at the root of the model; "text_projection" is ours.
#pragma once
#include <memory>
#include <vector>

#include "core/model/text_tower_config.h"
#include "core/model/towers.h"
#include "core/module/attention.h"
#include "core/module/layers.h"

namespace triptych {

/// Attention, then MLP, each with dropout, residual and norm after it.
class BertLayer : public Module {
 public:
  BertLayer(const BertConfig& config, const Initializer& init);
  /// [n, tokens, width]; padding [n, 1, 1, tokens], added to the scores.
  at::Tensor forward(const at::Tensor& x_nld, const at::Tensor& padding, const ForwardScope& scope) const;

 private:
  std::int64_t heads_;
  double dropout_;
  Linear query_, key_, value_, attention_output_;
  LayerNorm attention_norm_;
  Linear intermediate_, output_;
  LayerNorm output_norm_;
};

class Bert : public TextTower {
 public:
  Bert(const BertConfig& config, std::int64_t embed_dim, const Initializer& init);
  /// Tokens of id 0 are padding, and no token sees them.
  at::Tensor forward(const at::Tensor& tokens, const ForwardScope& scope = {}) const override;
  /// States after the embeddings (first) and after each layer, [n, context, width] each, for tokens [n, context].
  std::vector<at::Tensor> states(const at::Tensor& tokens, const ForwardScope& scope) const;

 private:
  at::Tensor embedded(const at::Tensor& tokens, const ForwardScope& scope) const;
  at::Tensor layer(std::size_t index, const at::Tensor& x_nld, const at::Tensor& padding,
                   const ForwardScope& scope) const;

  BertConfig config_;
  Embedding words_, positions_, types_;
  LayerNorm norm_;
  std::vector<std::unique_ptr<BertLayer>> layers_;
  at::Tensor text_projection_;  ///< [width, embed_dim]
};

}  // namespace triptych

// BERT (Devlin et al., arXiv:1810.04805) as a text encoder: the state of [CLS] projected. Names of parameters are
// Hugging Face's without "bert.", at the root of the model; "text_projection" is ours.
#pragma once
#include <vector>

#include "core/model/bert_layers.h"
#include "core/model/towers.h"

namespace triptych {

class Bert : public TextTower {
 public:
  Bert(const BertConfig& config, std::int64_t embed_dim, const Initializer& init);
  /// Tokens of id 0 are padding, and no token sees them.
  at::Tensor forward(const at::Tensor& tokens, const ForwardScope& scope = {}) const override;
  /// States after the embeddings (first) and after each layer, [n, context, width] each, for tokens [n, context].
  std::vector<at::Tensor> states(const at::Tensor& tokens, const ForwardScope& scope) const;
  /// Tokens [n, length <= positions] -> [n, length, width] before the first layer, after position and norm.
  at::Tensor embedded(const at::Tensor& tokens, const ForwardScope& scope) const {
    return encoder_.embedded(tokens, scope);
  }
  /// The layers on embedded tokens (of one row, or of as many as `tokens`) -> states [n, length, width].
  at::Tensor encoded(const at::Tensor& embedded, const at::Tensor& tokens, const ForwardScope& scope) const;
  /// States [..., width] -> [..., embed_dim], not of unit length: of [CLS], or of words.
  at::Tensor project(const at::Tensor& states) const;

 private:
  BertConfig config_;
  BertEncoder encoder_;
  at::Tensor text_projection_;  ///< [width, embed_dim]
};

}  // namespace triptych

// What TCL trains (Yang et al., CVPR 2022, arXiv:2202.10401, after ALBEF, Li et al., NeurIPS 2021, arXiv:2107.07651):
// a vision transformer, a BERT whose lower layers encode text and whose upper layers fuse it with image tokens, and
// their heads.
#pragma once
#include <optional>

#include "core/model/bert_layers.h"
#include "core/model/model_config.h"
#include "core/model/vit.h"

namespace triptych {

/// One BERT in three modes: text (lower layers), fusion (upper layers on given text states), and both for masked words.
/// Names are Hugging Face's: embeddings.*, encoder.layer.*, cls.predictions.*.
class FusionBert : public Module {
 public:
  FusionBert(const BertConfig& config, std::int64_t fusion_depth, std::int64_t image_width, const Initializer& init);
  /// Tokens int64 [n, tokens <= positions] -> their states after the text layers, [n, tokens, width].
  at::Tensor text(const at::Tensor& tokens, const ForwardScope& scope) const;
  /// Text states [n, tokens, width] of `tokens` look at image states [n, keys, image width] -> [n, tokens, width].
  at::Tensor fused(const at::Tensor& text_nld, const at::Tensor& tokens, const at::Tensor& image_nkc,
                   const ForwardScope& scope) const;
  /// States [n, width] -> logits of the words they stand for, [n, vocabulary]. The decoder is the word table.
  at::Tensor word_logits(const at::Tensor& states_nd) const;

 private:
  std::int64_t text_depth_;
  BertEncoder encoder_;
  Linear transform_;
  LayerNorm transform_norm_;
  at::Tensor bias_;  ///< [vocabulary]
};

/// Towers and projections: what has a momentum copy. Names: visual.* (OpenCLIP's), FusionBert's at the root,
/// vision_proj.*, text_proj.*.
class AlignedEncoders : public Module {
 public:
  /// config.image must be a vit, config.text a bert, config.fusion there.
  AlignedEncoders(const ModelConfig& config, const Initializer& init);
  const VisionTransformer& visual() const { return visual_; }
  const FusionBert& bert() const { return bert_; }
  /// States of tokens [..., width] -> [..., embed_dim], not of unit length. One projection for class token and locals.
  at::Tensor project_image(const at::Tensor& states) const { return vision_proj_.forward(states); }
  at::Tensor project_text(const at::Tensor& states) const { return text_proj_.forward(states); }

 private:
  VisionTransformer visual_;
  FusionBert bert_;
  Linear vision_proj_, text_proj_;
};

/// AlignedEncoders with what only the student has: itm_head.* and temperature.
class FusionModel : public Module {
 public:
  FusionModel(const ModelConfig& config, double temperature, const Initializer& init);
  AlignedEncoders& encoders() { return encoders_; }
  /// States [n, width] of fused [CLS] -> logits [n, 2]: no match, match.
  at::Tensor match_logits(const at::Tensor& class_nd) const { return itm_head_.forward(class_nd); }
  /// Divides cosine similarities: a scalar parameter.
  at::Tensor& temperature() { return temperature_; }

 private:
  AlignedEncoders encoders_;
  Linear itm_head_;
  at::Tensor temperature_;
};

}  // namespace triptych

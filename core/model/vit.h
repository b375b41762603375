// Vision transformer (Dosovitskiy et al., arXiv:2010.11929) in two forms: CLIP's (norm before the blocks, patches
// without bias) and timm's (patches with bias, no norm before the blocks). Names of parameters are OpenCLIP's, below
// "visual.".
#pragma once
#include <optional>

#include "core/model/model_config.h"
#include "core/model/towers.h"
#include "core/model/transformer.h"

namespace triptych {

class VisionTransformer : public ImageTower {
 public:
  /// embed_dim nullopt: no projection (its parameter would get no gradient).
  VisionTransformer(const VitConfig& config, std::optional<std::int64_t> embed_dim, const Initializer& init);
  at::Tensor features(const at::Tensor& pixels, const ForwardScope& scope) const override;
  /// States of all tokens, class token first: [n, 1 + patches, width].
  at::Tensor tokens(const at::Tensor& pixels, const ForwardScope& scope) const;
  at::Tensor project(const at::Tensor& features) const override;
  std::int64_t feature_width() const override { return config_.width; }
  std::int64_t grid() const override { return config_.image_size / config_.patch_size; }
  at::Tensor embedded(const at::Tensor& pixels, const ForwardScope& scope) const override;
  at::Tensor with_cells(const at::Tensor& embedded, const at::Tensor& keep_nk) const override;
  ImageStates encoded(const at::Tensor& embedded, const ForwardScope& scope) const override;

 private:
  /// [n, 1 + patches, width] -> class token and the patches that this row keeps.
  at::Tensor kept(const at::Tensor& x_nld, const ForwardScope& scope) const;

  VitConfig config_;
  at::Tensor class_embedding_, positional_embedding_;  ///< [width], [1 + grid * grid, width]
  at::Tensor proj_;                                    ///< [width, embed_dim] or undefined
  at::Tensor conv1_weight_, conv1_bias_;               ///< [width, 3, patch, patch], [width] (timm's form)
  std::optional<LayerNorm> ln_pre_;                    ///< CLIP's form
  Transformer transformer_;
  LayerNorm ln_post_;
};

}  // namespace triptych

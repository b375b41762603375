// Residual networks of bottlenecks (He et al., arXiv:1512.03385) in torchvision's form: the stride is in the 3 x 3
// convolution. Names of parameters are torchvision's, below "visual."; the attention pool is CLIP's ("attnpool").
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "core/model/image_tower_config.h"
#include "core/model/towers.h"
#include "core/module/batch_norm.h"
#include "core/module/layers.h"

namespace triptych {

struct BottleneckShape {
  std::int64_t in = 0, inner = 0;  ///< channels; out is 4 inner
  std::int64_t stride = 1;
  bool frozen_norm = false;
};

class Bottleneck : public Module {
 public:
  Bottleneck(const BottleneckShape& shape, const Initializer& init);
  at::Tensor forward(const at::Tensor& x_nchw, const ForwardScope& scope) const;

 private:
  Convolution conv1_, conv2_, conv3_;
  BatchNorm bn1_, bn2_, bn3_;
  std::optional<Convolution> shortcut_;  ///< where the shape changes
  std::optional<BatchNorm> shortcut_norm_;
};

/// Attention whose only query is the mean of the grid (arXiv:2103.00020, section 2.4).
class AttentionPool : public Module {
 public:
  /// grid: height = width. embed_dim nullopt: without the last projection.
  AttentionPool(std::int64_t width, std::int64_t grid, std::int64_t heads, std::optional<std::int64_t> embed_dim,
                const Initializer& init);
  at::Tensor forward(const at::Tensor& x_nchw, const ForwardScope& scope) const;  ///< -> [n, width]
  at::Tensor project(const at::Tensor& pooled) const;                             ///< -> [n, embed_dim]

 private:
  std::int64_t heads_;
  at::Tensor positional_embedding_;  ///< [1 + grid^2, width]
  Linear q_proj_, k_proj_, v_proj_;
  std::optional<Linear> c_proj_;
};

class ResNet : public ImageTower {
 public:
  /// embed_dim nullopt: no projection.
  ResNet(const ResNetConfig& config, std::optional<std::int64_t> embed_dim, const Initializer& init);
  at::Tensor features(const at::Tensor& pixels, const ForwardScope& scope) const override;
  at::Tensor project(const at::Tensor& features) const override;
  std::int64_t feature_width() const override { return 32 * config_.width; }

 private:
  ResNetConfig config_;
  Convolution conv1_;
  BatchNorm bn1_;
  std::vector<std::unique_ptr<Bottleneck>> blocks_;
  std::unique_ptr<AttentionPool> attnpool_;  ///< pool: attention
  at::Tensor proj_;                          ///< pool: average; [feature_width, embed_dim] or undefined
};

}  // namespace triptych

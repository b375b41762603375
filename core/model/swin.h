// Swin transformer (Liu et al., arXiv:2103.14030), UniCL's image tower. Names of parameters are the authors', below
// "visual."; "proj" is UniCL's image_projection.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "core/model/image_tower_config.h"
#include "core/model/towers.h"
#include "core/module/layers.h"

namespace triptych {

struct SwinBlockShape {
  std::int64_t width = 0, heads = 0, grid = 0;  ///< grid: height = width of the tokens
  std::int64_t window = 0;                      ///< at most grid
  std::int64_t shift = 0;                       ///< of the windows, in tokens
  double mlp_ratio = 4, drop_path = 0;
};

/// Attention inside windows, with a learnt bias for each relative place (equation 4).
class WindowAttention : public Module {
 public:
  WindowAttention(const SwinBlockShape& shape, const Initializer& init);
  /// x [n, windows, tokens, width]; mask [windows, 1, tokens, tokens], added to the scores, or undefined.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& mask, const ForwardScope& scope) const;

 private:
  std::int64_t heads_;
  Linear qkv_, proj_;
  at::Tensor table_;  ///< [(2 window - 1)^2, heads]
  at::Tensor index_;  ///< [tokens * tokens], row of the table
};

class SwinMlp : public Module {
 public:
  SwinMlp(std::int64_t width, double ratio, const Initializer& init);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  Linear fc1_, fc2_;
};

class SwinBlock : public Module {
 public:
  SwinBlock(const SwinBlockShape& shape, const Initializer& init);
  at::Tensor forward(const at::Tensor& x_nld,
                     const ForwardScope& scope) const;  ///< [n, grid * grid, width] -> the same

 private:
  at::Tensor windows(const at::Tensor& x_nhwc) const;   ///< -> [n, windows, tokens, width]
  at::Tensor whole(const at::Tensor& x_windows) const;  ///< and back

  SwinBlockShape shape_;
  LayerNorm norm1_;
  WindowAttention attn_;
  LayerNorm norm2_;
  SwinMlp mlp_;
  at::Tensor mask_;  ///< keeps tokens apart that only the shift brought together
};

/// Four neighbours become one token of twice the width.
class PatchMerging : public Module {
 public:
  PatchMerging(std::int64_t width, std::int64_t grid, const Initializer& init);
  at::Tensor forward(const at::Tensor& x_nld) const;  ///< [n, grid^2, width] -> [n, grid^2 / 4, 2 width]

 private:
  std::int64_t grid_;
  LayerNorm norm_;
  Linear reduction_;
};

class SwinTransformer : public ImageTower {
 public:
  /// embed_dim nullopt: no projection.
  SwinTransformer(const SwinConfig& config, std::optional<std::int64_t> embed_dim, const Initializer& init);
  at::Tensor features(const at::Tensor& pixels, const ForwardScope& scope) const override;
  at::Tensor project(const at::Tensor& features) const override;
  std::int64_t feature_width() const override { return width_; }
  std::int64_t grid() const override { return grid_; }
  at::Tensor embedded(const at::Tensor& pixels, const ForwardScope& scope) const override;
  /// A cell of the last grid is a square of patches of the first.
  at::Tensor with_cells(const at::Tensor& embedded, const at::Tensor& keep_nk) const override;
  ImageStates encoded(const at::Tensor& embedded, const ForwardScope& scope) const override;

 private:
  struct Stage {
    std::vector<std::unique_ptr<SwinBlock>> blocks;
    std::unique_ptr<PatchMerging> downsample;  ///< null in the last stage
  };
  Stage make_stage(const SwinConfig& config, std::size_t index, const Initializer& init);

  std::int64_t image_size_, width_, grid_;  ///< width and grid: of the last stage
  at::Tensor patch_weight_, patch_bias_;    ///< [width, 3, patch, patch], [width]
  LayerNorm patch_norm_;
  std::vector<Stage> stages_;
  LayerNorm norm_;
  at::Tensor proj_;  ///< [width, embed_dim] or undefined
};

}  // namespace triptych

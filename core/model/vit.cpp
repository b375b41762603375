// The vision transformer's forward.
#include "core/model/vit.h"

#include <ATen/ATen.h>

#include <cmath>

namespace triptych {
namespace {

TransformerShape shape_of(const VitConfig& c) {
  return {.width = c.width,
          .depth = c.depth,
          .heads = c.heads,
          .mlp_ratio = c.mlp_ratio,
          .activation = c.activation,
          .norm_eps = 1e-5,
          .causal = false,
          .drop_path = c.drop_path};
}

}  // namespace

VisionTransformer::VisionTransformer(const VitConfig& config, std::optional<std::int64_t> embed_dim,
                                     const Initializer& init)
    : config_(config),
      ln_pre_(config.width),
      transformer_(shape_of(config), init / "transformer"),
      ln_post_(config.width) {
  const std::int64_t grid = config.image_size / config.patch_size, patch = config.patch_size;
  const double deviation = std::pow(config.width, -0.5);
  class_embedding_ = parameter("class_embedding", init.normal("class_embedding", {config.width}, deviation));
  positional_embedding_ = parameter("positional_embedding",
                                    init.normal("positional_embedding", {1 + grid * grid, config.width}, deviation));
  if (embed_dim) proj_ = parameter("proj", init.normal("proj", {config.width, *embed_dim}, deviation));
  conv1_weight_ = parameter("conv1.weight", init.uniform("conv1.weight", {config.width, 3, patch, patch},
                                                         1 / std::sqrt(3.0 * static_cast<double>(patch * patch))));
  child("ln_pre", ln_pre_);
  child("transformer", transformer_);
  child("ln_post", ln_post_);
}

/// The patch convolution as a product: patches do not overlap, so it is one matrix product over their pixels.
at::Tensor VisionTransformer::patches(const at::Tensor& pixels) const {
  const std::int64_t n = pixels.size(0), patch = config_.patch_size, grid = config_.image_size / patch;
  const at::Tensor cut = pixels.reshape({n, 3, grid, patch, grid, patch}).permute({0, 2, 4, 1, 3, 5});
  return at::linear(cut.reshape({n, grid * grid, 3 * patch * patch}), conv1_weight_.flatten(1));
}

at::Tensor VisionTransformer::features(const at::Tensor& pixels, const at::Generator& draws) const {
  const std::int64_t size = config_.image_size;
  TORCH_CHECK(pixels.dim() == 4 && pixels.size(1) == 3 && pixels.size(2) == size && pixels.size(3) == size,
              "the ViT takes pictures [n, 3, ", size, ", ", size, "], got ", pixels.sizes());
  const at::Tensor patch_nld = patches(pixels);
  const at::Tensor class_n1d = class_embedding_.to(patch_nld.scalar_type()).expand({pixels.size(0), 1, -1});
  const at::Tensor x_nld = at::cat({class_n1d, patch_nld}, 1) + positional_embedding_;
  return ln_post_.forward(transformer_.forward(ln_pre_.forward(x_nld), draws).select(1, 0));
}

at::Tensor VisionTransformer::project(const at::Tensor& features) const {
  TORCH_CHECK(proj_.defined(), "this ViT was made without a projection");
  return at::matmul(features, proj_);
}

}  // namespace triptych

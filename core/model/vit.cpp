// The vision transformer's forward.
#include "core/model/vit.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/model/patches.h"

namespace triptych {
namespace {

bool is_clip(const VitConfig& c) {
  return c.form == "clip";
}

double norm_eps(const VitConfig& c) {
  return is_clip(c) ? 1e-5 : 1e-6;
}

TransformerShape shape_of(const VitConfig& c) {
  return {.width = c.width,
          .depth = c.depth,
          .heads = c.heads,
          .mlp_ratio = c.mlp_ratio,
          .activation = c.activation,
          .norm_eps = norm_eps(c),
          .causal = false,
          .drop_path = c.drop_path};
}

}  // namespace

VisionTransformer::VisionTransformer(const VitConfig& config, std::optional<std::int64_t> embed_dim,
                                     const Initializer& init)
    : config_(config), transformer_(shape_of(config), init / "transformer"), ln_post_(config.width, norm_eps(config)) {
  const std::int64_t grid = config.image_size / config.patch_size, patch = config.patch_size;
  const double deviation = std::pow(config.width, -0.5);
  class_embedding_ = parameter("class_embedding", init.normal("class_embedding", {config.width}, deviation));
  positional_embedding_ = parameter("positional_embedding",
                                    init.normal("positional_embedding", {1 + grid * grid, config.width}, deviation));
  if (embed_dim) proj_ = parameter("proj", init.normal("proj", {config.width, *embed_dim}, deviation));
  conv1_weight_ = parameter("conv1.weight", init.uniform("conv1.weight", {config.width, 3, patch, patch},
                                                         1 / std::sqrt(3.0 * static_cast<double>(patch * patch))));
  if (is_clip(config)) {
    child("ln_pre", ln_pre_.emplace(config.width, norm_eps(config)));
  } else {
    conv1_bias_ = parameter("conv1.bias", at::zeros({config.width}));
  }
  child("transformer", transformer_);
  child("ln_post", ln_post_);
}

/// Li et al. (FLIP, arXiv:2212.00794): each row keeps patches of its own, in their order.
at::Tensor VisionTransformer::kept(const at::Tensor& x_nld, const ForwardScope& scope) const {
  if (!training() || config_.patch_dropout == 0) return x_nld;
  TORCH_CHECK(scope.draws.defined(), "patch dropout needs a keyed generator, got none");
  const std::int64_t n = x_nld.size(0), patches = x_nld.size(1) - 1;
  const auto keep = std::max<std::int64_t>(1, std::llround((1 - config_.patch_dropout) * static_cast<double>(patches)));
  const at::Tensor scores = at::empty({n, patches}, x_nld.options().dtype(at::kFloat).requires_grad(false));
  scores.uniform_(0, 1, scope.draws);
  const at::Tensor chosen = std::get<0>(std::get<1>(scores.topk(keep, 1)).sort(1)) + 1;
  const at::Tensor rows = at::cat({at::zeros({n, 1}, chosen.options()), chosen}, 1);
  return x_nld.gather(1, rows.unsqueeze(2).expand({-1, -1, x_nld.size(2)}));
}

at::Tensor VisionTransformer::embedded(const at::Tensor& pixels, const ForwardScope& scope) const {
  check_pictures(pixels, config_.image_size);
  const at::Tensor patch_nld = patch_tokens(pixels, conv1_weight_, conv1_bias_);
  const at::Tensor class_n1d = class_embedding_.to(patch_nld.scalar_type()).expand({pixels.size(0), 1, -1});
  const at::Tensor x_nld = kept(at::cat({class_n1d, patch_nld}, 1) + positional_embedding_, scope);
  return ln_pre_ ? ln_pre_->forward(x_nld) : x_nld;
}

at::Tensor VisionTransformer::with_cells(const at::Tensor& embedded, const at::Tensor& keep_nk) const {
  const at::Tensor tokens = at::cat({at::ones({keep_nk.size(0), 1}, keep_nk.options()), keep_nk}, 1);
  return embedded * tokens.unsqueeze(2).to(embedded.scalar_type());
}

ImageStates VisionTransformer::encoded(const at::Tensor& embedded, const ForwardScope& scope) const {
  const at::Tensor x_nld = ln_post_.forward(transformer_.forward(embedded, scope));
  return {x_nld.select(1, 0), x_nld.narrow(1, 1, x_nld.size(1) - 1)};
}

at::Tensor VisionTransformer::features(const at::Tensor& pixels, const ForwardScope& scope) const {
  return ln_post_.forward(transformer_.forward(embedded(pixels, scope), scope).select(1, 0));
}

at::Tensor VisionTransformer::tokens(const at::Tensor& pixels, const ForwardScope& scope) const {
  return ln_post_.forward(transformer_.forward(embedded(pixels, scope), scope));
}

at::Tensor VisionTransformer::project(const at::Tensor& features) const {
  TORCH_CHECK(proj_.defined(), "this ViT was made without a projection");
  return at::matmul(features, proj_);
}

}  // namespace triptych

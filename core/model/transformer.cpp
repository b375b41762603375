// Attention, MLP and residual blocks. Initial values follow CLIP (arXiv:2103.00020, released code): normal with
// deviations that keep the residual stream's variance independent of width and depth; the same rule for both towers.
#include "core/model/transformer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "core/module/attention.h"
#include "core/module/keyed_random.h"
#include "core/module/recompute.h"

namespace triptych {
namespace {

double residual_deviation(const TransformerShape& shape) {
  return std::pow(shape.width, -0.5) * std::pow(2.0 * static_cast<double>(shape.depth), -0.5);
}

std::int64_t hidden_width(const TransformerShape& shape) {
  return static_cast<std::int64_t>(std::llround(static_cast<double>(shape.width) * shape.mlp_ratio));
}

}  // namespace

SelfAttention::SelfAttention(const TransformerShape& shape, const Initializer& init)
    : heads_(shape.heads),
      causal_(shape.causal),
      in_proj_weight_(parameter("in_proj_weight", init.normal("in_proj_weight", {3 * shape.width, shape.width},
                                                              std::pow(shape.width, -0.5)))),
      in_proj_bias_(parameter("in_proj_bias", at::zeros({3 * shape.width}))),
      out_proj_((init / "out_proj").normal("weight", {shape.width, shape.width}, residual_deviation(shape))) {
  child("out_proj", out_proj_);
}

at::Tensor SelfAttention::forward(const at::Tensor& x_nld, const ForwardScope& scope) const {
  const auto n = x_nld.size(0), tokens = x_nld.size(1), width = x_nld.size(2);
  const at::Tensor packed = at::linear(x_nld, in_proj_weight_, in_proj_bias_);
  const auto heads = packed.view({n, tokens, 3, heads_, width / heads_}).permute({2, 0, 3, 1, 4}).unbind(0);
  // [n, heads, tokens, width / heads]
  const at::Tensor mixed = attend(heads[0], heads[1], heads[2], {.causal = causal_}, scope);
  return out_proj_.forward(mixed.transpose(1, 2).reshape({n, tokens, width}));
}

Mlp::Mlp(const TransformerShape& shape, const Initializer& init)
    : quick_(shape.activation == "quick_gelu"),
      c_fc_((init / "c_fc")
                .normal("weight", {hidden_width(shape), shape.width},
                        std::pow(2.0 * static_cast<double>(shape.width), -0.5))),
      c_proj_((init / "c_proj").normal("weight", {shape.width, hidden_width(shape)}, residual_deviation(shape))) {
  child("c_fc", c_fc_);
  child("c_proj", c_proj_);
}

at::Tensor Mlp::forward(const at::Tensor& x) const {
  const at::Tensor hidden = c_fc_.forward(x);
  return c_proj_.forward(quick_ ? hidden * at::sigmoid(hidden * 1.702) : at::gelu(hidden));
}

ResidualBlock::ResidualBlock(const TransformerShape& shape, double drop_path, const Initializer& init)
    : drop_path_(drop_path),
      ln_1_(shape.width, shape.norm_eps),
      attn_(shape, init / "attn"),
      ln_2_(shape.width, shape.norm_eps),
      mlp_(shape, init / "mlp") {
  child("ln_1", ln_1_);
  child("attn", attn_);
  child("ln_2", ln_2_);
  child("mlp", mlp_);
}

at::Tensor ResidualBlock::forward(const at::Tensor& x_nld, const ForwardScope& scope) const {
  const double drop = training() ? drop_path_ : 0;
  const at::Tensor seen = x_nld + drop_path(attn_.forward(ln_1_.forward(x_nld), scope), drop, scope.draws);
  return seen + drop_path(mlp_.forward(ln_2_.forward(seen)), drop, scope.draws);
}

Transformer::Transformer(const TransformerShape& shape, const Initializer& init) {
  for (std::int64_t i = 0; i < shape.depth; ++i) {
    const std::string name = "resblocks." + std::to_string(i);
    const double drop = shape.depth == 1
                            ? shape.drop_path
                            : shape.drop_path * static_cast<double>(i) / static_cast<double>(shape.depth - 1);
    blocks_.push_back(std::make_unique<ResidualBlock>(shape, drop, init / name));
    child(name, *blocks_.back());
  }
}

at::Tensor Transformer::forward(at::Tensor x_nld, const ForwardScope& scope) const {
  for (const auto& block : blocks_) {
    x_nld = recomputed(*block, {x_nld}, scope, [&block = *block](const auto& inputs, const ForwardScope& inner) {
      return block.forward(inputs[0], inner);
    });
  }
  return x_nld;
}

}  // namespace triptych

// The pre-norm transformer that the ViT and CLIP's text encoder share. Names of parameters are OpenCLIP's.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/module/forward_scope.h"
#include "core/module/layers.h"
#include "core/module/module.h"

namespace triptych {

struct TransformerShape {
  std::int64_t width = 0, depth = 0, heads = 0;
  double mlp_ratio = 4;
  std::string activation = "gelu";  ///< or "quick_gelu": x sigmoid(1.702 x)
  double norm_eps = 1e-5;
  bool causal = false;   ///< a token sees itself and those before it
  double drop_path = 0;  ///< of the last block; grows linearly from 0
};

/// Multi-head self-attention with packed projections (Vaswani et al., arXiv:1706.03762).
class SelfAttention : public Module {
 public:
  SelfAttention(const TransformerShape& shape, const Initializer& init);
  at::Tensor forward(const at::Tensor& x_nld, const ForwardScope& scope) const;  ///< [n, tokens, width] -> the same

 private:
  std::int64_t heads_;
  bool causal_;
  at::Tensor in_proj_weight_, in_proj_bias_;  ///< [3 width, width], [3 width]: query, key, value
  Linear out_proj_;
};

/// c_proj(activation(c_fc(x))).
class Mlp : public Module {
 public:
  Mlp(const TransformerShape& shape, const Initializer& init);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  bool quick_;
  Linear c_fc_, c_proj_;
};

/// x + attention(norm(x)), then x + mlp(norm(x)); each branch may be dropped per row while training.
class ResidualBlock : public Module {
 public:
  ResidualBlock(const TransformerShape& shape, double drop_path, const Initializer& init);
  at::Tensor forward(const at::Tensor& x_nld, const ForwardScope& scope) const;

 private:
  double drop_path_;
  LayerNorm ln_1_;
  SelfAttention attn_;
  LayerNorm ln_2_;
  Mlp mlp_;
};

class Transformer : public Module {
 public:
  Transformer(const TransformerShape& shape, const Initializer& init);
  at::Tensor forward(at::Tensor x_nld, const ForwardScope& scope) const;  ///< [n, tokens, width] -> the same

 private:
  std::vector<std::unique_ptr<ResidualBlock>> blocks_;
};

}  // namespace triptych

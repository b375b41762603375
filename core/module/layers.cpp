// Linear, LayerNorm, Embedding over at:: operators.
#include "core/module/layers.h"

#include <ATen/ATen.h>

namespace triptych {

Linear::Linear(at::Tensor weight, bool with_bias) {
  const std::int64_t out = weight.size(0);
  weight_ = parameter("weight", std::move(weight));
  if (with_bias) bias_ = parameter("bias", at::zeros({out}));
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  return at::linear(x, weight_, bias_);
}

Convolution::Convolution(at::Tensor weight, std::int64_t stride)
    : weight_(parameter("weight", std::move(weight))), stride_(stride) {}

at::Tensor Convolution::forward(const at::Tensor& x_nchw) const {
  return at::conv2d(x_nchw, weight_, {}, stride_, weight_.size(2) / 2);
}

LayerNorm::LayerNorm(std::int64_t width, double eps)
    : weight_(parameter("weight", at::ones({width}))), bias_(parameter("bias", at::zeros({width}))), eps_(eps) {}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return at::layer_norm(x, weight_.sizes(), weight_, bias_, eps_);
}

Embedding::Embedding(at::Tensor weight) : weight_(parameter("weight", std::move(weight))) {}

at::Tensor Embedding::forward(const at::Tensor& ids) const {
  return at::embedding(weight_, ids);
}

}  // namespace triptych

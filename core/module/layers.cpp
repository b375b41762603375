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
    : weight_(parameter("weight", weight.contiguous(at::MemoryFormat::ChannelsLast))), stride_(stride) {
  // Of a 1 x 1 kernel both formats are the same; one set of strides, so that gradients have it, too.
  if (weight.size(2) == 1) weight_.set_data(weight.contiguous());
}

at::Tensor Convolution::forward(const at::Tensor& x_nchw) const {
  if (weight_.size(2) > 1) return at::conv2d(x_nchw, weight_, {}, stride_, weight_.size(2) / 2);
  const at::Tensor kept =
      stride_ == 1 ? x_nchw : x_nchw.slice(2, 0, std::nullopt, stride_).slice(3, 0, std::nullopt, stride_);
  return at::linear(kept.permute({0, 2, 3, 1}), weight_.flatten(1)).permute({0, 3, 1, 2});
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

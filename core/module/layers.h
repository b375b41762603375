// The small layers that several towers share. Names of parameters are PyTorch's ("weight", "bias").
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "core/module/initializer.h"
#include "core/module/module.h"

namespace triptych {

/// y = x W' + b; weight [out, in].
class Linear : public Module {
 public:
  /// Takes over the initial `weight`; the bias starts at 0.
  explicit Linear(at::Tensor weight, bool with_bias = true);
  at::Tensor forward(const at::Tensor& x) const;  ///< [..., in] -> [..., out]

 private:
  at::Tensor weight_, bias_;
};

/// A convolution without bias; weight [out, in, kernel, kernel], padded so that stride 1 keeps the size. Pictures and
/// weights lie channels last; a 1 x 1 kernel is a matrix product.
class Convolution : public Module {
 public:
  Convolution(at::Tensor weight, std::int64_t stride);
  at::Tensor forward(const at::Tensor& x_nchw) const;

 private:
  at::Tensor weight_;
  std::int64_t stride_;
};

/// Normalises the last dimension (Ba et al., arXiv:1607.06450); weight starts at 1, bias at 0.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t width, double eps = 1e-5);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  at::Tensor weight_, bias_;
  double eps_;
};

/// A row of `weight` [count, width] for each id.
class Embedding : public Module {
 public:
  explicit Embedding(at::Tensor weight);
  at::Tensor forward(const at::Tensor& ids) const;  ///< int64 [...] -> [..., width]
  const at::Tensor& weight() const { return weight_; }

 private:
  at::Tensor weight_;
};

}  // namespace triptych

// The size of a convolution's result.
#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

namespace triptych {

/// Cells along picture dimension `dim` (0: height, 1: width) of x [n, in, h, w] under weight [out, in / groups, kh,
/// kw]. Lists as ATen's: one number stands for both dimensions.
inline std::int64_t convolution_size(const at::Tensor& x, const at::Tensor& weight, at::IntArrayRef stride,
                                     at::IntArrayRef padding, at::IntArrayRef dilation, std::size_t dim) {
  const auto of = [dim](at::IntArrayRef numbers) { return numbers[std::min(dim, numbers.size() - 1)]; };
  const auto axis = static_cast<std::int64_t>(dim) + 2, reach = of(dilation) * (weight.size(axis) - 1) + 1;
  return (x.size(axis) + 2 * of(padding) - reach) / of(stride) + 1;
}

}  // namespace triptych

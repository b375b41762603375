// Pictures to patch tokens.
#pragma once
#include <ATen/core/Tensor.h>

namespace triptych {

/// The convolution whose stride is its kernel, as one matrix product: patches do not overlap.
/// pixels [n, 3, size, size], weight [width, 3, patch, patch], bias [width] or undefined -> [n, grid * grid, width],
/// row by row. patch divides size.
at::Tensor patch_tokens(const at::Tensor& pixels, const at::Tensor& weight, const at::Tensor& bias);

/// Throws c10::Error unless pixels are [n, 3, size, size].
void check_pictures(const at::Tensor& pixels, std::int64_t size);

}  // namespace triptych

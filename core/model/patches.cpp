// Patch tokens by one product.
#include "core/model/patches.h"

#include <ATen/ATen.h>

namespace triptych {

at::Tensor patch_tokens(const at::Tensor& pixels, const at::Tensor& weight, const at::Tensor& bias) {
  const std::int64_t n = pixels.size(0), patch = weight.size(2), grid = pixels.size(2) / patch;
  const at::Tensor cut = pixels.reshape({n, 3, grid, patch, grid, patch}).permute({0, 2, 4, 1, 3, 5});
  return at::linear(cut.reshape({n, grid * grid, 3 * patch * patch}), weight.flatten(1), bias);
}

void check_pictures(const at::Tensor& pixels, std::int64_t size) {
  TORCH_CHECK(pixels.dim() == 4 && pixels.size(1) == 3 && pixels.size(2) == size && pixels.size(3) == size,
              "the image tower takes pictures [n, 3, ", size, ", ", size, "], got ", pixels.sizes());
}

}  // namespace triptych

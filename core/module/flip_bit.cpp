#include "core/module/flip_bit.h"

#include <ATen/ATen.h>

namespace triptych {

void flip_bit(const at::Tensor& tensor) {
  const at::Tensor target = tensor.detach();
  at::Tensor bytes = target.to(at::kCPU, target.scalar_type(), /*non_blocking=*/false, /*copy=*/true).contiguous();
  const auto element = static_cast<std::size_t>(bytes.numel() / 2) * bytes.element_size();
  static_cast<unsigned char*>(bytes.mutable_data_ptr())[element + 1] ^= 0x10;
  target.copy_(bytes);
}

}  // namespace triptych

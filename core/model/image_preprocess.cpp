// Normalisation of pictures.
#include "core/model/image_preprocess.h"

#include <ATen/ATen.h>

namespace triptych {

at::Tensor normalise_images(const at::Tensor& images, const CorpusFacts& facts, at::ScalarType dtype) {
  TORCH_CHECK(images.dim() == 4 && images.size(3) == 3, "pictures must be [n, height, width, 3], got ", images.sizes());
  const at::Tensor planes = images.permute({0, 3, 1, 2});
  if (images.is_floating_point()) return planes.to(dtype).contiguous();
  TORCH_CHECK(images.scalar_type() == at::kByte, "pictures must be uint8 or floating point, got ",
              images.scalar_type());
  const auto channel = [&](const std::vector<float>& values) {
    return at::tensor(values, at::kFloat).to(images.device(), dtype).view({1, 3, 1, 1});
  };
  // One multiply and one add: x / (255 std) - mean / std.
  const at::Tensor deviation = channel(facts.pixel_std);
  return planes.to(dtype).contiguous().mul_(1 / (255 * deviation)).sub_(channel(facts.pixel_mean) / deviation);
}

}  // namespace triptych

// Normalisation of pictures.
#include "core/model/image_preprocess.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace triptych {

namespace {

/// Planes of fp32 from rows of bytes in one pass, with the roundings of the tensor operations below, which need four.
at::Tensor normalise_bytes(const at::Tensor& images, const at::Tensor& scale, const at::Tensor& shift) {
  const auto rows = images.size(0), pixels = images.size(1) * images.size(2);
  at::Tensor result = at::empty({rows, 3, images.size(1), images.size(2)}, at::kFloat);
  const auto* from = images.const_data_ptr<std::uint8_t>();
  auto* to = result.mutable_data_ptr<float>();
  const auto *a = scale.const_data_ptr<float>(), *b = shift.const_data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const auto* rgb = from + row * pixels * 3;
      float *red = to + row * pixels * 3, *green = red + pixels, *blue = green + pixels;
      for (std::int64_t i = 0; i < pixels; ++i) {
        red[i] = static_cast<float>(rgb[3 * i]) * a[0] - b[0];
        green[i] = static_cast<float>(rgb[3 * i + 1]) * a[1] - b[1];
        blue[i] = static_cast<float>(rgb[3 * i + 2]) * a[2] - b[2];
      }
    }
  });
  return result;
}

}  // namespace

at::Tensor normalise_images(const at::Tensor& images, const CorpusFacts& facts, at::ScalarType dtype) {
  TORCH_CHECK(images.dim() == 4 && images.size(3) == 3, "pictures must be [n, height, width, 3], got ", images.sizes());
  const at::Tensor planes = images.permute({0, 3, 1, 2});
  if (images.is_floating_point()) return planes.to(dtype).contiguous();
  TORCH_CHECK(images.scalar_type() == at::kByte, "pictures must be uint8 or floating point, got ",
              images.scalar_type());
  const auto channel = [&](const std::vector<float>& values) {
    return at::tensor(values, at::kFloat).to(images.device(), dtype);
  };
  // One multiply and one add: x / (255 std) - mean / std.
  const at::Tensor deviation = channel(facts.pixel_std);
  const at::Tensor scale = 1 / (255 * deviation), shift = channel(facts.pixel_mean) / deviation;
  if (images.is_cpu() && dtype == at::kFloat) return normalise_bytes(images.contiguous(), scale, shift);
  const auto each = [](const at::Tensor& values) { return values.view({1, 3, 1, 1}); };
  return planes.to(dtype).contiguous().mul_(each(scale)).sub_(each(shift));
}

}  // namespace triptych

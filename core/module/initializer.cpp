// Initial values from one generator per parameter.
#include "core/module/initializer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "core/base/hash.h"
#include "core/base/random_key.h"
#include "core/module/keyed_random.h"

namespace triptych {

at::Tensor Initializer::drawn(const std::string& name, at::IntArrayRef shape, at::ScalarType type,
                              const std::function<void(at::Tensor&, at::Generator)>& draw) const {
  at::Tensor values = at::empty(shape, at::TensorOptions(device_).dtype(type));
  if (device_.is_meta()) return values.to(at::kFloat);
  draw(values, keyed_generator(random_key(seed_, Purpose::kInit, {xxh64(full(name))}), at::kCPU));
  return values.to(at::kFloat);
}

at::Tensor Initializer::normal(const std::string& name, at::IntArrayRef shape, double deviation) const {
  return drawn(name, shape, at::kFloat, [&](at::Tensor& x, at::Generator draws) { x.normal_(0, deviation, draws); });
}

at::Tensor Initializer::truncated_normal(const std::string& name, at::IntArrayRef shape, double deviation,
                                         double cut) const {
  // Inverse transform: x = sqrt(2) erfinv(u), u uniform between the values of erf at both cuts.
  const double bound = std::erf(cut / std::sqrt(2.0));
  return drawn(name, shape, at::kDouble, [&](at::Tensor& x, at::Generator draws) {
    x.uniform_(-bound, bound, draws)
        .erfinv_()
        .mul_(deviation * std::sqrt(2.0))
        .clamp_(-cut * deviation, cut * deviation);
  });
}

at::Tensor Initializer::uniform(const std::string& name, at::IntArrayRef shape, double bound) const {
  return drawn(name, shape, at::kFloat, [&](at::Tensor& x, at::Generator draws) { x.uniform_(-bound, bound, draws); });
}

at::Tensor Initializer::xavier_uniform(const std::string& name, at::IntArrayRef shape) const {
  TORCH_CHECK(shape.size() == 2, "xavier_uniform needs [fan_out, fan_in], got ", shape, " for ", full(name));
  return uniform(name, shape, std::sqrt(6.0 / static_cast<double>(shape[0] + shape[1])));
}

}  // namespace triptych

// Initial values from one generator per parameter.
#include "core/module/initializer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "core/base/hash.h"
#include "core/base/random_key.h"
#include "core/module/keyed_random.h"

namespace triptych {

at::Generator Initializer::generator(const std::string& name) const {
  const std::string path = full(name);
  return keyed_generator(random_key(seed_, Purpose::kInit, {xxh64(path)}), at::kCPU);
}

at::Tensor Initializer::normal(const std::string& name, at::IntArrayRef shape, double deviation) const {
  return at::empty(shape, at::kFloat).normal_(0, deviation, generator(name));
}

at::Tensor Initializer::truncated_normal(const std::string& name, at::IntArrayRef shape, double deviation,
                                         double cut) const {
  // Inverse transform: x = sqrt(2) erfinv(u), u uniform between the values of erf at both cuts.
  const double bound = std::erf(cut / std::sqrt(2.0));
  const at::Tensor u = at::empty(shape, at::kDouble).uniform_(-bound, bound, generator(name));
  return u.erfinv_().mul_(deviation * std::sqrt(2.0)).clamp_(-cut * deviation, cut * deviation).to(at::kFloat);
}

at::Tensor Initializer::uniform(const std::string& name, at::IntArrayRef shape, double bound) const {
  return at::empty(shape, at::kFloat).uniform_(-bound, bound, generator(name));
}

at::Tensor Initializer::xavier_uniform(const std::string& name, at::IntArrayRef shape) const {
  TORCH_CHECK(shape.size() == 2, "xavier_uniform needs [fan_out, fan_in], got ", shape, " for ", full(name));
  return uniform(name, shape, std::sqrt(6.0 / static_cast<double>(shape[0] + shape[1])));
}

}  // namespace triptych

// Tensors for tests: golden files, keyed draws, comparison.
#pragma once
#include <ATen/ATen.h>

#include <string>

#include "core/base/random_key.h"
#include "core/module/keyed_random.h"
#include "core/module/safetensors.h"
#include "tests/support/paths.h"

namespace triptych {

/// tests/golden/NAME.safetensors.
class Golden {
 public:
  explicit Golden(const std::string& name) : file_(source_path("tests/golden/") + name + ".safetensors") {}
  at::Tensor operator[](const std::string& name) const { return file_.read(name); }
  const std::map<std::string, StoredTensor>& tensors() const { return file_.tensors(); }

 private:
  SafetensorsReader file_;
};

/// Normal draws in fp64, the same for the same key.
inline at::Tensor draw(std::initializer_list<std::uint64_t> key, at::IntArrayRef shape) {
  return at::empty(shape, at::kDouble).normal_(0, 1, keyed_generator(random_key(9, Purpose::kTest, key), at::kCPU));
}

inline at::Tensor unit(const at::Tensor& rows) {
  return rows / rows.norm(2, -1, true);
}

/// A leaf with its own memory.
inline at::Tensor leaf(const at::Tensor& value) {
  return value.detach().clone().set_requires_grad(true);
}

/// Largest absolute difference; infinity if the shapes differ or something is not finite.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  const double most = (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
  return std::isfinite(most) ? most : std::numeric_limits<double>::infinity();
}

}  // namespace triptych

// Autocast as a scope: matrix products in `compute`, the rest as PyTorch's rules say. Thread-local, exception safe.
#pragma once
#include <ATen/core/Tensor.h>

namespace triptych {

class AutocastScope {
 public:
  /// Does nothing when both dtypes are equal.
  AutocastScope(at::Device device, at::ScalarType parameters, at::ScalarType compute);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType device_;
  bool active_ = false, was_enabled_ = false;
  at::ScalarType was_dtype_ = at::kFloat;
};

}  // namespace triptych

// Autocast as a scope: matrix products in `compute`, the rest as PyTorch's rules say. Thread-local, exception safe.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace triptych {

class AutocastScope {
 public:
  /// Does nothing when both dtypes are equal.
  AutocastScope(at::Device device, at::ScalarType parameters, at::ScalarType compute);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  void set(std::optional<at::ScalarType> products) const;

  at::DeviceType device_;
  bool active_ = false;
  std::optional<at::ScalarType> before_;
};

/// The type that autocast takes matrix products on `device` in; nothing: it is off.
std::optional<at::ScalarType> autocast_type(at::DeviceType device);

}  // namespace triptych

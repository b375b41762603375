// Autocast for meta tensors, which torch's own does not know: what a step on shapes alone needs to cast where a real
// one does.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace triptych {

/// While one lives, meta tensors of this thread stand for tensors of `device`: rules that ask for a device (autocast's
/// list of operators, attention's kernel) answer for that.
class MetaStandsFor {
 public:
  explicit MetaStandsFor(at::DeviceType device);
  ~MetaStandsFor();
  MetaStandsFor(const MetaStandsFor&) = delete;
  MetaStandsFor& operator=(const MetaStandsFor&) = delete;

  static at::DeviceType device();  ///< without one: the CPU

 private:
  at::DeviceType before_;
};

namespace meta_autocast {

/// The type that matrix products take; nothing: off. Thread-local.
std::optional<at::ScalarType> type();
/// Sets it and returns what it was. Weights that were cast are kept for the next use until it is switched off.
std::optional<at::ScalarType> set(std::optional<at::ScalarType> type);

}  // namespace meta_autocast
}  // namespace triptych

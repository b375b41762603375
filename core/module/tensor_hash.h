// One number for the bits of a tensor, or of everything that a state visitor lists: the proof of exact resume.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "core/module/state.h"

namespace triptych {

/// xxh64 over dtype, shape and the bytes in row-major order. Equal tensors on different devices hash alike.
std::uint64_t tensor_hash(const at::Tensor& tensor);

/// Folds names and values into one number, in the order of the visit.
class StateHash : public StateVisitor {
 public:
  void tensor(const std::string& name, at::Tensor& tensor) override;
  void integer(const std::string& name, std::int64_t& value) override;
  void real(const std::string& name, double& value) override;
  void text(const std::string& name, std::string& value) override;
  std::uint64_t value() const { return value_; }

 private:
  void fold(const std::string& name, std::uint64_t hash);
  std::uint64_t value_ = 0;
};

}  // namespace triptych

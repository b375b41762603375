// State is one visitor: what a checkpoint holds is what visit_state lists. Saving, loading, hashing and comparing walk
// the same list, so nothing can be saved but not loaded.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace triptych {

class StateVisitor {
 public:
  virtual ~StateVisitor() = default;
  /// `tensor` keeps its identity: a loader copies into it. Shape and dtype must match.
  virtual void tensor(const std::string& name, at::Tensor& tensor) = 0;
  virtual void integer(const std::string& name, std::int64_t& value) = 0;
  virtual void real(const std::string& name, double& value) = 0;
  virtual void text(const std::string& name, std::string& value) = 0;
};

}  // namespace triptych

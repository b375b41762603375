// Lets a transport of device tensors carry CPU tensors: copied there, sent, copied back. For decisions of the host
// where there is no CPU transport (torchrun without MPI): small and rare.
#pragma once
#include <c10/core/Device.h>

#include "distributed/collective_call.h"

namespace triptych {

class StagedBackend final : public CallBackend {
 public:
  StagedBackend(c10::intrusive_ptr<c10d::Backend> inner, c10::Device device);
  const std::string getBackendName() const override { return "triptych_staged"; }

 protected:
  /// Blocks until the result is back in call.out.
  Work run(CollectiveCall call) override;

 private:
  c10::intrusive_ptr<c10d::Backend> inner_;
  c10::Device device_;
};

}  // namespace triptych

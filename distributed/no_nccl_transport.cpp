// A build without CUDA sees no GPU.
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "core/base/errors.h"
#include "distributed/nccl_transport.h"

namespace triptych {

VisibleGpus visible_gpus() {
  return {0, "this build has no CUDA (scripts/build cuda adds it)"};
}

std::string gpu_identity(int) {
  throw ConfigError(visible_gpus().none_because);
}

void add_nccl(c10d::ProcessGroup&, const c10::intrusive_ptr<c10d::Store>&, int, std::chrono::milliseconds) {
  throw ConfigError(visible_gpus().none_because);
}

void stop_nccl(c10d::ProcessGroup&) {}

}  // namespace triptych

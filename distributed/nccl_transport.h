// The GPU side of a launch. nccl_transport.cpp is built with TRIPTYCH_CUDA; without it no_nccl_transport.cpp answers
// that there is no GPU.
#pragma once
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <string>

namespace c10d {
class ProcessGroup;
class Store;
}  // namespace c10d

namespace triptych {

/// GPUs that this process can see.
struct VisibleGpus {
  int count = 0;
  std::string none_because;  ///< when count is 0
};
VisibleGpus visible_gpus();

/// Tells two GPUs of a host apart, whatever their numbers in CUDA_VISIBLE_DEVICES.
std::string gpu_identity(int index);

/// Makes GPU `index` current and lets `group` carry its tensors over NCCL. Collective; the ranks meet in `store`.
/// Without a CPU transport in the group, CPU tensors go over the GPU as well (through StagedBackend).
void add_nccl(c10d::ProcessGroup& group, const c10::intrusive_ptr<c10d::Store>& store, int index,
              std::chrono::milliseconds timeout);

/// Ends NCCL: collective, all ranks in good order.
void stop_nccl(c10d::ProcessGroup& group);

}  // namespace triptych

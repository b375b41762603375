#include "distributed/nccl_transport.h"

#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "distributed/staged_backend.h"

namespace triptych {

VisibleGpus visible_gpus() {
  const int count = c10::cuda::device_count();
  return {count, count ? "" : "CUDA sees no GPU on this host (driver, CUDA_VISIBLE_DEVICES)"};
}

std::string gpu_identity(int index) {
  const auto& uuid = at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(index))->uuid;
  std::string hex;
  for (const char byte : uuid.bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(byte);
    hex += kDigits[value >> 4];
    hex += kDigits[value & 15];
  }
  return hex;
}

void add_nccl(c10d::ProcessGroup& group, const c10::intrusive_ptr<c10d::Store>& store, int index,
              std::chrono::milliseconds timeout) {
  const c10::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
  c10::cuda::set_device(device.index());
  auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
  options->timeout = timeout;
  options->group_name = "triptych";
  auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, group.getRank(), group.getSize(), options);
  nccl->setBoundDeviceId(device);
  group.setBoundDeviceId(device);
  const bool has_cpu_transport = group.hasBackends();
  group.setBackend(at::kCUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
  group.setGroupName("triptych");
  if (!has_cpu_transport) {
    group.setBackend(at::kCPU, c10d::ProcessGroup::BackendType::CUSTOM,
                     c10::make_intrusive<StagedBackend>(nccl, device));
    group.setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
  }
}

void stop_nccl(c10d::ProcessGroup& group) {
  group.getBackend(at::kCUDA)->shutdown();
}

}  // namespace triptych

// The numbers that plans assume about machines: every constant of `triptych plan`, with where it is from.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace triptych {

/// A link as a ring sees it: t = (N - 1)(latency + bytes / (N bandwidth)) for an all-gather or a reduce-scatter.
struct LinkFacts {
  double latency_s, bytes_per_s;
};

struct DeviceFacts {
  std::string name;  ///< h100 | a100 | cpu
  at::DeviceType type;
  std::int64_t memory;                            ///< bytes; 0: what this machine has, shared by its ranks
  double narrow_flops, full_flops, double_flops;  ///< peak a second in bf16 and fp16, fp32, fp64; cpu: of one core
  double narrow_utilisation, full_utilisation;    ///< assumed share of the peak that a step reaches
  LinkFacts within, across;                       ///< ranks of one machine, ranks of several

  double peak_flops(const std::string& precision) const;
  double utilisation(const std::string& precision) const;
};

/// Throws ConfigError for a name that is not in the table.
const DeviceFacts& device_facts(const std::string& name);

/// Resident memory of this program on the CPU before it holds a tensor of a run: LibTorch, MPI and the program itself.
inline constexpr std::int64_t kProgramBytes = 190LL << 20;
/// What the allocator (tcmalloc) keeps of freed activations, as a share of them: -0.02 to 0.1, by `scripts/measure
/// plan`.
inline constexpr double kAllocatorSlack = 0.1;
/// What CUDA, cuBLAS and cuDNN take of a GPU before the first tensor.
inline constexpr std::int64_t kGpuContextBytes = 700LL << 20;

}  // namespace triptych

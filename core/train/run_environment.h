// What a run finds around it and decides about it: threads, kernels, instruction set, program, memory, time since
// start.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/train/loop_config.h"
#include "distributed/launch.h"

namespace triptych {

/// Sets the number of threads and the rules by which kernels are chosen: by device, dtype and shape, never by timing.
/// Throws ConfigError. Returns warnings for the log. Collective.
std::vector<std::string> prepare_computation(const LoopConfig& config, const Place& place, Collectives& comm);

/// What decides bits besides the configuration.
struct ComputeFacts {
  std::int64_t ranks = 1, threads = 1;
  std::string device, instruction_set;
};
ComputeFacts compute_facts(const Place& place);

/// Names this very executable: its build id, or the hash of its file.
std::string program_identity();

/// environment.json: versions, ranks' hosts, threads, instruction set, device.
std::string environment_json(const ComputeFacts& facts, const std::string& program,
                             const std::vector<std::string>& hosts);

struct MemoryUse {
  double peak_rss_mb = 0;     ///< of this process, ever
  double private_rss_mb = 0;  ///< now, without shared libraries' and files' pages
  double peak_gpu_mb = 0;     ///< 0 on the CPU
};
MemoryUse memory_use(at::Device device);

/// Bytes that this machine (or GPU) has in all.
std::int64_t total_memory(at::Device device);

/// Wall time since this process was started, dynamic linking included.
double seconds_since_process_start();

}  // namespace triptych

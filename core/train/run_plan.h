// What a run would take on a number of ranks of some device: work, memory, exchanges, time, and the largest batch.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/train/device_table.h"
#include "core/train/memory_estimate.h"

namespace triptych {

struct PlanRequest {
  const TrainConfig& config;
  std::int64_t ranks = 1, ranks_per_node = 8;
  const DeviceFacts& device;
  std::int64_t threads = 1;      ///< cpu: cores of a rank
  std::int64_t text_tokens = 0;  ///< length that texts are taken to have; 0: their whole context
};

/// One collective of a step.
struct PlannedExchange {
  std::string what;
  std::int64_t bytes = 0;  ///< that a rank sends
  double seconds = 0;
};

struct RunPlan {
  std::vector<std::pair<std::string, std::int64_t>> parameters;  ///< by tower
  std::int64_t trained = 0;                                      ///< parameters that get gradients
  std::int64_t local_batch = 0, micro_batch = 0;
  // FLOPs of a sample, towers and loss; a multiply-add counts twice.
  double forward_flops = 0, backward_flops = 0, first_pass_flops = 0, loss_flops = 0;
  MemoryEstimate memory;       ///< of rank 0
  std::int64_t available = 0;  ///< bytes of a rank
  bool fits = false;
  std::vector<PlannedExchange> exchanges;
  double compute_s = 0, communication_s = 0, step_s = 0;
  // The most rows of one forward that fit, and of a rank's step in micro-batches as configured; 0: not even one. Found
  // to 1/64, and not looked for beyond 2^24. With virtual shards both are those of a rank's shards, all as large.
  std::int64_t largest_micro_batch = 0, largest_local_batch = 0;
  double step_flops() const {
    return static_cast<double>(local_batch) * (forward_flops + backward_flops + first_pass_flops + loss_flops);
  }
};

/// Parameters by tower: OpenCLIP's names put the image tower under "visual.".
std::vector<std::pair<std::string, std::int64_t>> parameters_by_tower(Module& module);

/// Throws ConfigError where batch and ranks do not fit (plan_batch) or text_tokens means nothing. Takes no memory to
/// speak of.
RunPlan plan_run(const PlanRequest& request, const CorpusFacts& facts);

}  // namespace triptych

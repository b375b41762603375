// How much memory a run will need, by part, before it needs it: a trace of the towers' step and plain counts of the
// rest.
#pragma once
#include <cstdint>
#include <memory>

#include "core/objective/objective.h"
#include "core/train/step_trace.h"
#include "core/train/train_config.h"

namespace triptych {

/// Bytes of one rank: on the CPU all of the process, on a GPU what lies there.
struct MemoryEstimate {
  std::int64_t weights = 0;      ///< parameters, buffers, their running average
  std::int64_t gradients = 0;    ///< in the buckets of the averaging; twice where micro-batches add up beside them
  std::int64_t optimizer = 0;    ///< both moments; a rank's share of them with optimizer.shard
  std::int64_t activations = 0;  ///< of one micro-batch at the worst moment, casts of weights included
  std::int64_t loss = 0;         ///< what the loss adds to them: all ranks' embeddings, tiles; scores of all classes
  std::int64_t queue = 0;        ///< of past embeddings: no present objective has one
  std::int64_t batches = 0;      ///< pictures and tokens; on the CPU also those decoded ahead
  std::int64_t snapshot = 0;     ///< rank 0 on the CPU: the copy that is written while training goes on
  std::int64_t program = 0;      ///< libraries, allocator's slack; a GPU's context
  std::int64_t total() const {
    return weights + gradients + optimizer + activations + loss + queue + batches + snapshot + program;
  }
};

/// One rank's part of a run.
struct RankShape {
  std::int64_t ranks = 1, rank = 0;
  std::int64_t local_batch = 1, micro_batch = 1;
  std::int64_t classes = 0;  ///< labels of the corpora, for a head over them
  at::DeviceType device = at::kCPU;
};

/// The objective of a run on the meta device: shapes without memory, frozen parameters as the optimizer section says.
std::unique_ptr<Objective> objective_on_meta(const TrainConfig& config, const CorpusFacts& facts);

/// One micro-batch of it.
StepTrace trace_step(Objective& on_meta, const TrainConfig& config, const RankShape& shape);

MemoryEstimate estimate_memory(Objective& on_meta, const TrainConfig& config, const RankShape& shape,
                               const StepTrace& trace);

/// Throws ConfigError that names the key to change when `estimate`, with `micro_batch` rows at a time, is more than
/// `available` bytes.
void check_memory(const MemoryEstimate& estimate, std::int64_t available, const TrainConfig& config,
                  std::int64_t micro_batch);

}  // namespace triptych

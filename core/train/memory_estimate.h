// How much memory a run will need, before it needs it.
#pragma once
#include <cstdint>

#include "core/objective/objective.h"
#include "core/train/train_config.h"

namespace triptych {

/// Bytes of one rank. Weights to snapshot are exact; activations are estimated from the sizes of the towers.
struct MemoryEstimate {
  std::int64_t weights = 0, gradients = 0, optimizer = 0;
  std::int64_t buckets = 0;      ///< of the averaging
  std::int64_t snapshot = 0;     ///< rank 0: the copy that is written while training goes on
  std::int64_t activations = 0;  ///< of one micro-batch
  std::int64_t loss = 0;         ///< embeddings of all rows, or scores of all classes
  std::int64_t batches = 0;      ///< decoded ahead
  std::int64_t total() const {
    return weights + gradients + optimizer + buckets + snapshot + activations + loss + batches;
  }
};

MemoryEstimate estimate_memory(const TrainConfig& config, const StepPlan& plan, Objective& objective, int rank,
                               std::int64_t classes);

/// Throws ConfigError that names the key to change when `estimate`, with `micro_batch` rows at a time, is more than
/// `available` bytes.
void check_memory(const MemoryEstimate& estimate, std::int64_t available, const TrainConfig& config,
                  std::int64_t micro_batch);

}  // namespace triptych

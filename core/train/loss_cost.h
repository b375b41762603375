// What a loss computes, holds and exchanges on one rank: counted from the tiled losses' own code (losses/).
#pragma once
#include <cstdint>

#include "core/train/train_config.h"
#include "core/types/batch.h"

namespace triptych {

struct RankShape;

struct LossCost {
  bool rows_meet = true;        ///< all rows of a step at once: contrastive losses; false: micro-batch by micro-batch
  double flops = 0;             ///< of a step, forward and backward
  std::int64_t peak = 0;        ///< bytes at the worst moment, beside what the towers keep
  std::int64_t kept = 0;        ///< bytes held while the towers are differentiated
  std::int64_t embeddings = 0;  ///< bytes of rows that travel, in all
  std::int64_t sums = 0;        ///< bytes of log-sum-exps and labels gathered, in all
};

LossCost loss_cost(const TrainConfig& config, const BatchSpec& spec, const RankShape& shape);

}  // namespace triptych

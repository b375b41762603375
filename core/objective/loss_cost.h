// What an objective's loss computes, holds and exchanges on one rank: counted from the tiled losses' own code
// (losses/).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/objective/objective_config.h"
#include "core/types/batch.h"

namespace triptych {

/// One rank's part of a step.
struct LossShape {
  std::int64_t ranks = 1;
  std::int64_t local_batch = 1, micro_batch = 1;  ///< rows
  std::int64_t classes = 0;                       ///< of a head over them
  std::int64_t embed_dim = 1;
  std::int64_t grid = 0;  ///< patches of a picture's side; 0: the image tower has none
  at::ScalarType parameters = at::kFloat, products = at::kFloat;  ///< types of embeddings and of their products
  at::DeviceType device = at::kCPU;
};

struct LossCost {
  bool rows_meet = true;        ///< all rows of a step at once: contrastive losses; false: micro-batch by micro-batch
  double flops = 0;             ///< of a step, forward and backward
  std::int64_t peak = 0;        ///< bytes at the worst moment, beside what the towers keep
  std::int64_t kept = 0;        ///< bytes held while the towers are differentiated
  std::int64_t beside = 0;      ///< bytes at the worst moment of what a micro-batch computes beside its towers' graph
  std::int64_t embeddings = 0;  ///< bytes of rows that travel, in all
  std::int64_t embedding_messages = 1;  ///< that a rank sends to each other rank for them
  std::int64_t sums = 0;                ///< bytes of log-sum-exps and labels gathered, in all
};

LossCost loss_cost(const ObjectiveConfig& objective, const BatchSpec& spec, const LossShape& shape);

}  // namespace triptych

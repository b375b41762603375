// Benchmarks of computation: the objective's loss alone, and whole steps.
#pragma once
#include <nlohmann/json.hpp>

#include "core/train/train_config.h"
#include "distributed/launch.h"

namespace triptych {

/// What is computed on: made-up data, or, so that another program can do equal work, a safetensors file with the rows
/// of all ranks.
struct ComputeBench {
  const TrainConfig& config;
  double seconds = 0;
  std::string inputs;  ///< the file; empty: made up
};

/// Forward and backward of the loss for each number of local rows, until the time is over. Inputs: "image" and "text"
/// [B, d], or what the objective's loss takes, and "labels" int64 [B]; then `rows` is not used. Collective.
nlohmann::ordered_json bench_loss(const ComputeBench& bench, std::vector<std::int64_t> rows, Launch& launch);

/// Steps of the trainer (forward, loss, backward, averaging, update) on one batch until the time is over; at least two.
/// Where the objective names its parts, half of the time goes to steps that are measured part by part on rank 0.
/// Inputs: "images" uint8 [B, side, side, 3] and "tokens" int64 [B, context]. Collective.
nlohmann::ordered_json bench_step(const ComputeBench& bench, Launch& launch);

}  // namespace triptych

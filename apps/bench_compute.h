// Benchmarks of computation on made-up data: the objective's loss alone, and whole steps.
#pragma once
#include <nlohmann/json.hpp>

#include "core/train/train_config.h"
#include "distributed/launch.h"

namespace triptych {

/// Forward and backward of the loss for each number of local rows, until `seconds` are over. Collective.
nlohmann::ordered_json bench_loss(const TrainConfig& config, const std::vector<std::int64_t>& rows, double seconds,
                                  Launch& launch);

/// Steps of the trainer (forward, loss, backward, averaging, update) until `seconds` are over; at least two.
/// Collective.
nlohmann::ordered_json bench_step(const TrainConfig& config, double seconds, Launch& launch);

}  // namespace triptych

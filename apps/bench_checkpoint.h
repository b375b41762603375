// How long a step is held up by saving.
#pragma once
#include <nlohmann/json.hpp>

#include "core/train/train_config.h"
#include "distributed/launch.h"

namespace triptych {

/// Saves model, optimizer and counters again and again into a temporary folder: seconds that training waits (checks and
/// copies), seconds of the write beside it, seconds of reading back. One process.
nlohmann::ordered_json bench_checkpoint(const TrainConfig& config, double seconds, Launch& launch);

}  // namespace triptych

// What an objective asks of the batch's size beside what every run does, before anything is built.
#pragma once
#include <cstdint>

#include "core/objective/objective_config.h"

namespace triptych {

/// global_batch: rows of all ranks in a step. Throws FieldError with the key from the configuration's root.
void check_global_batch(const ObjectiveConfig& objective, std::int64_t global_batch);

/// micro_batch: rows of one forward of a rank. Throws ConfigError.
void check_micro_batch(const ObjectiveConfig& objective, std::int64_t micro_batch, std::int64_t ranks);

}  // namespace triptych

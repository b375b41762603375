// What distributed.virtual_shards asks of the rest of a configuration and of the number of ranks.
#pragma once
#include <cstdint>

#include "core/train/train_config.h"

namespace triptych {

/// Contradictions that need neither data nor ranks: a batch that does not divide, and settings with which a step
/// depends on the cut into ranks. Throws FieldError. Nothing where the setting is off.
void check_virtual_shards(const TrainConfig& config);

/// Throws ConfigError that lists the numbers of ranks that divide the shards. Nothing where the setting is off.
void check_ranks_of_shards(std::int64_t shards, std::int64_t ranks);

}  // namespace triptych

// What is reported of a loss whose rows do not meet, added up over virtual shards.
#pragma once
#include <vector>

#include "core/types/batch.h"
#include "distributed/collectives.h"

namespace triptych {

/// `own`: of this rank's shards, in order, each already its share of the whole; the same number and terms on every
/// rank.
/// -> the sums over all ranks' shards, one after the other in fp64: the same bits on any number of ranks. Collective.
LossReport sum_of_shards(const std::vector<LossReport>& own, Collectives& comm);

}  // namespace triptych

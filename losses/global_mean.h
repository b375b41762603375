// A mean over things of which each rank may hold another number: masked tokens, captions with phrases, sampled targets.
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"

namespace triptych {

enum class MeanOver {
  kGlobal,  ///< all ranks' items weigh alike
  kRank,    ///< each rank's own mean, as published single-GPU code under data parallelism does it
};

/// local_sum: scalar with graph, the sum over this rank's `count` items -> this rank's part of a mean, in the same
/// normalisation as a mean over local rows (the mean over ranks of the results is the mean over all items):
///   kGlobal: local_sum / (all_reduce_sum(count) * b / B);   kRank: local_sum / count.
/// A count of 0 (over all ranks, or of this rank) gives 0 with zero gradient. Every rank has the same number b of rows.
/// Collective in both forms.
at::Tensor global_mean(const at::Tensor& local_sum, std::int64_t count, Collectives& comm,
                       MeanOver over = MeanOver::kGlobal);

}  // namespace triptych

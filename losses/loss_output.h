// What a loss returns.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "core/types/batch.h"

namespace triptych {

/// Both are scalars over this rank's rows; their mean over ranks is the loss of the global batch.
struct LossOutput {
  at::Tensor total;             ///< with graph
  std::vector<LossTerm> terms;  ///< what it is made of, detached, for the log
};

}  // namespace triptych

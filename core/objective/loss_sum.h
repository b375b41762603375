// A loss that grows term by term, over micro-batches.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "core/types/batch.h"

namespace triptych {

struct LossSum {
  at::Tensor total;  ///< with graph; whoever has differentiated it clears it
  std::vector<LossTerm> terms;

  /// Adds value * weight * share, and notes value * share. share: a micro-batch's, of the local rows.
  void add(const std::string& name, const at::Tensor& value, double weight, double share = 1);
  /// For the log only; values of one name add up.
  void note(const std::string& name, const at::Tensor& value);
};

}  // namespace triptych

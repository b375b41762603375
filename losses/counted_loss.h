// What a loss over items whose number differs by rank returns.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

/// A sum over this rank's items, with graph, and how many they are: what global_mean.h takes.
struct CountedLoss {
  at::Tensor sum;  ///< scalar, fp32, or fp64 for fp64 inputs
  std::int64_t count = 0;
};

}  // namespace triptych

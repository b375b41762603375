// One micro-batch's forward and backward on shapes alone: what they compute and what they hold, counted operator by
// operator on the objective's own code.
#pragma once
#include <cstdint>

#include "core/objective/objective.h"

namespace triptych {

/// Of one micro-batch.
struct StepTrace {
  double forward_flops = 0;   ///< of matrix products and convolutions; a multiply-add counts twice
  double backward_flops = 0;  ///< with what activation checkpointing runs again
  std::int64_t kept = 0;      ///< bytes that the forward leaves for backward, casts of weights included
  std::int64_t peak = 0;      ///< bytes at the worst moment of forward and backward; without parameters and gradients
};

/// What is traced.
struct TraceRequest {
  Computation computation;
  at::DeviceType device = at::kCPU;  ///< that the shapes stand for
  std::int64_t rows = 1;
  std::int64_t ranks = 1;
};

/// `on_meta`: an objective built on the meta device, whose frozen parameters require no gradient. Nothing is computed:
/// the operators run on tensors that have shapes and no memory, an allocator counts their bytes, a dispatch key their
/// products.
StepTrace trace_step(Objective& on_meta, const TraceRequest& request);

}  // namespace triptych

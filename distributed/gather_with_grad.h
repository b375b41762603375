// The all-gather that autograd sees.
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"

namespace triptych {

/// [b, ...] -> [size*b, ...] in rank order. Backward is reduce_scatter_sum, unscaled. Contract with the rest of the
/// program: a loss is the mean over its rank's b LOCAL rows, GradientSync averages over ranks, and nobody else
/// multiplies or divides by size(); the result is then the gradient of the mean over all size*b rows. `comm` must
/// outlive the graph.
at::Tensor all_gather_with_grad(const at::Tensor& local, Collectives& comm);

}  // namespace triptych

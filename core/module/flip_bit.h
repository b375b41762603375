// Silent corruption on purpose (core/base/fault_plan.h).
#pragma once
#include <ATen/core/Tensor.h>

namespace triptych {

/// Turns one bit over, in place: the middle one of the fraction of the element in the middle (fp32), without a graph.
void flip_bit(const at::Tensor& tensor);

}  // namespace triptych

// A value whose derivatives were computed along with it, as autograd sees it.
#pragma once
#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace triptych {

/// A tensor that autograd differentiates, and the derivative of the value by it.
struct KnownGradient {
  at::Tensor of, is;
};

/// `value` (a scalar without graph) with a graph: its backward gives each tensor its gradient times what comes in.
at::Tensor with_known_gradients(const at::Tensor& value, const std::vector<KnownGradient>& gradients);

}  // namespace triptych

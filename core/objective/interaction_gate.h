// Network or sampler, for each interaction: the policy of UNSIL (LOUPE, Li et al., NeurIPS 2022, arXiv:2208.02515,
// section 3.5). A target with uncertainty sigma and a draw u from U(0, 1) is the sampler's where u <= sigma.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

/// int64, ascending: places in the flattened sigma of the targets that the sampler values; where these are more than
/// `most`, those with the least u / sigma, lower places first among equals: a choice that does not depend on sigma.
/// sigma, uniform: of one shape, on the CPU; eligible: bool of that shape, or undefined for all.
at::Tensor gated_targets(const at::Tensor& sigma, const at::Tensor& uniform, const at::Tensor& eligible,
                         std::int64_t most);

/// The same before there is a network: all targets of the max(1, most / targets) rows with the least draws.
/// uniform_nt [n, targets], of which the first column decides.
at::Tensor targets_of_rows(const at::Tensor& uniform_nt, std::int64_t most);

}  // namespace triptych

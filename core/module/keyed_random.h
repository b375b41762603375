// Draws inside a forward pass, from explicit generators only: torch's default generator is never touched, and the same
// key gives the same mask again when a forward is replayed.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

/// A fresh generator on `device` (meta: one of the CPU, which nothing draws from), seeded by `key`. On the CPU it is a
/// Mersenne twister seeded by the key's low 32 bits (as everywhere in torch), so the key must be well mixed: take it
/// from random_key().
at::Generator keyed_generator(std::uint64_t key, at::Device device);

/// Zeroes each element with `probability` and scales the rest by 1 / (1 - probability), so that the mean is kept
/// (Srivastava et al. 2014). Draws x.numel() gates from `draws`; with probability 0 draws nothing and returns x.
at::Tensor keyed_dropout(const at::Tensor& x, double probability, const at::Generator& draws);

/// Stochastic depth (Huang et al., arXiv:1603.09382): the same, with one gate for each row of dimension 0. `x` is the
/// output of a residual branch, [n, ...].
at::Tensor drop_path(const at::Tensor& x, double probability, const at::Generator& draws);

}  // namespace triptych

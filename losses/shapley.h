// Shapley values and interactions by enumeration of all coalitions (Shapley 1953; Grabisch and Roubens 1999): the
// definitions, for small games and for judging estimates. LOUPE (Li et al., NeurIPS 2022, arXiv:2208.02515),
// section 3.1.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace triptych {

/// What coalitions are worth: keep bool [coalitions, players] -> [coalitions]. No model inside.
using CoalitionValue = std::function<at::Tensor(const at::Tensor& keep_cn)>;

/// Players that are enumerated at most.
inline constexpr std::int64_t kMostPlayers = 20;

/// Equation 3: phi(i | N) = sum over S in N \ i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)). fp64 [players].
/// Throws c10::Error for more than kMostPlayers players.
at::Tensor shapley_values(const CoalitionValue& value, std::int64_t players);

/// Equation 4: I([R]) = phi([R] | N \ R + [R]) - sum over i in R of phi(i | N \ R + i), each in its own reduced game,
/// in which R is one player, or the others of R are absent. block: bool [players], not empty. fp64 scalar.
at::Tensor block_interaction(const CoalitionValue& value, const at::Tensor& block_n);

/// Equation 10 of all pairs: sum over S in N \ {i, j} of |S|! (n - |S| - 2)! / (n - 1)!
/// (v(S + i + j) - v(S + i) - v(S + j) + v(S)). fp64 [players, players], the diagonal 0.
at::Tensor pair_interactions(const CoalitionValue& value, std::int64_t players);

/// How much estimates of the same numbers differ: mean over all pairs u < v of |I_u - I_v|, over the mean of |I_u|;
/// then the mean over items whose estimates are not all 0. estimates_un [u >= 2, n].
double instability(const at::Tensor& estimates_un);

}  // namespace triptych

// The game whose players are a picture's regions and a caption's phrases: which region is meant by which phrase (LOUPE,
// Li et al., NeurIPS 2022, arXiv:2208.02515, section 3.3 and equations 9 and 10), exactly and by the paper's sampler.
//
// With similarities a_ij of M regions and N phrases, sets R and P of those present are worth
//   v(R, P) = 1/2 [ mean_{i in R} max_{j in P} s_ij + mean_{j in P} max_{i in R} t_ij ],   0 where R or P is empty
// with s the softmax of a / temperature over phrases for each region, t over regions for each phrase. The interaction
// of region i and phrase j, with H the other M + N - 2 players and c uniform in 0 .. M + N - 2, is
//   I_ij = E_c E_{S in H, |S| = c} [ v(S + i + j) - v(S + i) - v(S + j) + v(S) ]
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

/// What those that are absent do to the softmax, on which the paper is silent.
enum class AbsentPlayers {
  kFixed,         ///< it is taken once, over all; they are left out of mean and maximum
  kRenormalised,  ///< they are left out of it, too. One phrase alone then means every region fully
};

struct SemanticGame {
  AbsentPlayers absent = AbsentPlayers::kFixed;
  double temperature = 1;
};

/// kRenormalised goes over 2^M and 2^N sets.
inline constexpr std::int64_t kMostRenormalised = 16;
/// kFixed: beyond, numbers of coalitions leave the range of fp64.
inline constexpr std::int64_t kMostSemanticPlayers = 1000;

/// I of all pairs, exactly: fp64 [b, M, N]. Pictures may have fewer regions and phrases than M and N, the first ones;
/// 0 stands at the others, which no value depends on. A picture with a similarity that is not finite gets NaN.
/// kFixed costs O(M N log(M N)) a picture, kRenormalised O((2^M + 2^N) M N).
///   alike_bmn [b, M, N] floating point, on the CPU; phrases_b, regions_b: int64 [b] in [0, N] and [0, M], undefined
///   for all. No graph. Throws c10::Error beyond the limits above.
at::Tensor semantic_interactions(const at::Tensor& alike_bmn, const at::Tensor& phrases_b, const at::Tensor& regions_b,
                                 const SemanticGame& game = {});

/// The paper's sampler, one picture: for each pair K coalitions, of size c uniform in 0 .. M + N - 2 and then uniform
/// among those of the size. fp64 [M, N, K], whose mean over K estimates I without bias.
///   alike_mn as above; draws [M, N, K, M + N - 1], uniform in [0, 1): the first decides c, each other one is a
///   player's (the other regions in order, then the other phrases), the c least are in.
at::Tensor sampled_semantic_interactions(const at::Tensor& alike_mn, const at::Tensor& draws,
                                         const SemanticGame& game = {});

}  // namespace triptych

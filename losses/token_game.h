// The sampler of LOUPE's token-level interactions (Li et al., NeurIPS 2022, arXiv:2208.02515, equation 7) on a game
// whose value is a cosine of two embeddings, one of the image's present cells, one of the text's present words.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace triptych {

/// Embeddings under masks: bool [m, players] -> [m, d]. Without graph.
using MaskedEmbedding = std::function<at::Tensor(const at::Tensor& keep_mn)>;

enum class CoalitionSampler {
  kNaive,       ///< independent
  kStratified,  ///< sizes spread evenly
  kAntithetic,  ///< the same in pairs, each coalition with its complement
};

struct Coalitions {
  at::Tensor keep_Kn;  ///< bool
  at::Tensor share_K;  ///< fp64: the probability with which each player was kept
};

/// K coalitions whose size is uniform on 0 .. n, and any coalition of a size equally likely: a share p ~ U(0, 1), then
/// each player with probability p (Owen 1972). That holds for the players outside of any region alike, so that one draw
/// serves all regions of a picture. (p = 1/2 throughout would give Banzhaf's index.) stratified: p_k in [k, k + 1) / K.
/// antithetic: K even. draws: of the CPU; results on the CPU.
Coalitions draw_coalitions(CoalitionSampler sampler, std::int64_t K, std::int64_t players, const at::Generator& draws);

/// E[g(T)] where each of `words` words is kept with probability share_K[k] -> [K, d]. Up to 2^words =
/// most_enumerated: exact, each of the 2^words coalitions encoded once for all k; beyond: the mean of `samples` draws
/// for each k.
at::Tensor expected_embeddings(const MaskedEmbedding& text, std::int64_t words, const at::Tensor& share_K,
                               std::int64_t most_enumerated, std::int64_t samples, const at::Generator& draws);

struct RegionSamples {
  at::Tensor each_rK;               ///< one estimate of each region from each coalition; their mean over K is unbiased
  std::int64_t image_forwards = 0;  ///< masks that were encoded: equal ones once
};

/// What draws the members of region r. With a generator for each, a region's estimate does not depend on the others
/// that are asked for.
using RegionDraws = std::function<at::Generator(std::int64_t region)>;
/// One generator for all, region after region.
inline RegionDraws shared_draws(const at::Generator& draws) {
  return [draws](std::int64_t) { return draws; };
}

/// Equation 7 with S = keep_k without the region's cells, v(S) = f(S) . text_k:
///   I_rk = v(S + R) - sum over x in R of v(S + x) + (|R| - 1) v(S)
/// members > 0: the sum over at most so many x of R, drawn for each k, times |R| / members; 0: over all. At most `rows`
/// masks are encoded at a time.
///   keep_Kc bool [K, cells] on the CPU; text_Kd [K, d]; region_rc bool [r, cells], none empty.
RegionSamples sample_regions(const MaskedEmbedding& image, const at::Tensor& keep_Kc, const at::Tensor& text_Kd,
                             const at::Tensor& region_rc, std::int64_t members, std::int64_t rows,
                             const RegionDraws& draws_of);

/// By how much two estimates of a region, of K coalitions each, may be expected to differ: sqrt(h / K) |I_1 - I_2| of
/// the estimates from two halves of h coalitions, since errors fall as the root of their number. (Those of stratified
/// and antithetic coalitions fall faster, and there it is too large.) Halves take turns, so that both see all sizes; of
/// antithetic coalitions pairs stay together. 0 where there are not two of them. each_rK: of sample_regions() -> [r].
at::Tensor half_spread(const at::Tensor& each_rK, CoalitionSampler sampler);

}  // namespace triptych

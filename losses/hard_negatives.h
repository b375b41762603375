// Negatives drawn by likeness, for matching losses: ALBEF (Li et al., NeurIPS 2021, arXiv:2107.07651, section 3.2),
// also TCL (Yang et al., CVPR 2022, arXiv:2202.10401).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

struct HardNegatives {
  at::Tensor index_b;  ///< int64, the column drawn for each row; 0 where there is none
  at::Tensor valid_b;  ///< bool: the row has an allowed column
};

/// For each row i one allowed column, j with probability e^{score_ij} / sum of e^{score_ik} over allowed k, by the
/// Gumbel-max trick (Gumbel 1954; Maddison et al., NeurIPS 2014, arXiv:1411.0030):
///   argmax_j ( score_ij - log(-log u_ij) )
/// On the logits: there are no weights that could vanish together, as in the published code, whose fall-back then
/// draws without the scores, and for ever where only the own column exists. Nothing here waits for the device.
///   score_bn [b, n > 0], NaN as -inf; columns of -inf are drawn only where a row allows no others, then evenly.
///   forbidden_bn bool [b, n]; uniform_bn [b, n] in [0, 1), fp32 or fp64. No gradients.
HardNegatives hard_negatives(const at::Tensor& score_bn, const at::Tensor& forbidden_bn, const at::Tensor& uniform_bn);

/// bool [b, n]: true at the own pair (i, i + own), and where both have the same label. label_b [b], label_n [n]: int64,
/// kNoLabel is like nothing; both undefined: the own pairs only.
at::Tensor forbidden_pairs(std::int64_t b, std::int64_t n, std::int64_t own, const at::Tensor& label_b,
                           const at::Tensor& label_n, at::Device device);

}  // namespace triptych

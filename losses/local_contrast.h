// Contrast of a sample's global feature with its own local ones, against the locals of other samples: the local mutual
// information loss (LMI) of TCL (Yang et al., CVPR 2022, arXiv:2202.10401).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

enum class CellPooling {
  kCells,      ///< adaptive average to cells x cells, for any square grid
  kPublished,  ///< window and stride floor(sqrt(side)), as the released code; `cells` is not used
};

/// Side of the grid that kPublished makes of one of side x side patches, or 0 where the released code cannot work: it
/// takes the pooled side for that of its window. 16 and 25 work; 14 and 24 (224 and 384 pixels) do not.
std::int64_t published_cells(std::int64_t side);

/// Patch features [n, side * side, d], a row-major grid without class token -> [n, cells * cells, d] by average
/// pooling, row-major. The averages of unit vectors are not made unit again.
at::Tensor pooled_cells(const at::Tensor& patch_npd, std::int64_t cells, CellPooling pooling);

inline constexpr std::int64_t kLocalBlockRows = 64;  ///< rows whose logits exist at a time

/// Local features of n samples, constants: they get no gradient.
struct LocalKeys {
  at::Tensor local_nld;      ///< of this rank's samples, or of all ranks' in rank order
  at::Tensor valid_nl = {};  ///< bool; undefined: all are. What stands at the others does not matter
  std::int64_t own = 0;      ///< global row i and the locals of row i + own are one sample
};

enum class LocalMean {
  kAll,     ///< over all valid (i, l) at once: TCL's images
  kSample,  ///< over a sample's valid l, then over the samples i: TCL's texts
};

/// With s_ijk = g_i . h_jk / temperature, and i also the row of i's own locals:
///   N_i  = log sum_{j != i} sum_{valid k} e^{s_ijk}
///   l_ik = -log( e^{s_iik} / (e^{s_iik} + e^{N_i}) ) = log(1 + e^{N_i - s_iik}),  L = mean of l_ik over valid own k
/// Other locals of the same sample are nowhere in l_ik. Without other samples L is 0. A sample without valid local
/// has loss 0 and no gradient, but counts in kSample's mean over i (the released code gives NaN).
/// Goes over blocks of rows, each with its gradients in closed form: memory O(kLocalBlockRows n l) beside features and
/// gradients. No collective: the locals take no gradient, so a rank's own mean is all its rows need.
///   global_bd [b, d] with gradient; local_nld [n, l, d], n >= own + b, l may be 0; temperature: scalar tensor > 0,
///   with gradient. Sums in fp32, for fp64 features in fp64; the loss has that type, too.
at::Tensor local_contrast_loss(const at::Tensor& global_bd, const LocalKeys& keys, const at::Tensor& temperature,
                               LocalMean mean);

}  // namespace triptych

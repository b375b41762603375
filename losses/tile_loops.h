// The element-wise work on one tile of logits on the CPU. An element is read twice in the forward (largest, then sums)
// and once in the backward, and the tile is all there ever is of the B x B matrix.
//
// A tile holds raw products u_i . v_j without gaps, row-major; the logits are s_ij = scale * raw, scale >= 0. Targets
// follow from labels: T_ij = sum over labels c of Y_ic Y_jc (losses/class_ids.h), 1 or 0 where nothing is mixed.
#pragma once
#include <cstdint>

namespace triptych {

/// The labels of consecutive rows (or columns): a class number each; where rows are mixed, a second one and the share
/// of the first (else null).
template <class Real>
struct TileLabels {
  const std::int32_t* first = nullptr;
  const std::int32_t* second = nullptr;
  const Real* share = nullptr;
};

template <class Real>
struct LogitTile {
  Real* values = nullptr;
  std::int64_t rows = 0, columns = 0;
  Real scale = 1;
  TileLabels<Real> row_labels, column_labels;
  /// Element (i, i + self) is left out of everything: a row against itself.
  std::int64_t self = kNoSelf;
  static constexpr std::int64_t kNoSelf = INT64_MIN / 2;
};

/// What the softmax of a row remembers from tile to tile. Arrays of one value a row; `most` starts at -infinity, the
/// others at 0.
template <class Real>
struct SoftmaxSums {
  Real* most = nullptr;        ///< largest raw product so far
  double* sum = nullptr;       ///< of e^(scale (raw - most)): subtracted before it is scaled, which costs no digits
  double* weighted = nullptr;  ///< of the same times (raw - most)
  double* positive = nullptr;  ///< of T raw
};

/// One side's part of the gradient: arrays of one value a row.
template <class Real>
struct SoftmaxGradient {
  const Real* most = nullptr;     ///< largest raw product; null: this side has no softmax
  const Real* log_sum = nullptr;  ///< log-sum-exp less scale * most: apart, because their sum would round it away
  Real factor = 0;                ///< of its softmax
  const Real* target = nullptr;   ///< of T: factor / sum_j T_ij (0 without softmax)
};

template <class Real>
struct TileLoops {
  /// Adds rows [begin, end) of the tile to their sums: softmax over j of s_ij.
  void (*add_rows)(const LogitTile<Real>&, const SoftmaxSums<Real>&, std::int64_t begin, std::int64_t end);
  /// Adds columns [begin, end) of the tile to their sums: softmax over i of s_ij.
  void (*add_columns)(const LogitTile<Real>&, const SoftmaxSums<Real>&, std::int64_t begin, std::int64_t end);
  /// Rows [begin, end) become dL/ds_ij = row.factor e^(s - lse_i) + column.factor e^(s - lse_j) - T_ij
  /// (row.target_i + column.target_j): positives are subtracted before anything is rounded or summed.
  void (*to_gradient)(const LogitTile<Real>&, const SoftmaxGradient<Real>& row, const SoftmaxGradient<Real>& column,
                      std::int64_t begin, std::int64_t end);
};

/// For the best instruction set of this machine (of LibTorch, whose ATEN_CPU_CAPABILITY is obeyed).
template <class Real>
const TileLoops<Real>& tile_loops();
template <>
const TileLoops<float>& tile_loops<float>();
template <>
const TileLoops<double>& tile_loops<double>();

/// One table an instruction set.
namespace tile_portable {
template <class Real>
const TileLoops<Real>& loops();
}
#if defined(__x86_64__)
namespace tile_avx2 {
template <class Real>
const TileLoops<Real>& loops();
}
namespace tile_avx512 {
template <class Real>
const TileLoops<Real>& loops();
}
#endif

}  // namespace triptych

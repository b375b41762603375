// Softmax over all pairs of two sets of rows, in tiles: log-sum-exps and exact gradients in O(tile^2 + B d) memory,
// without the B x B matrix.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "distributed/collectives.h"
#include "losses/tile_labels.h"
#include "losses/tile_sweep.h"

namespace triptych {

/// Rows of one side with their labels. rows_nd: fp64, fp32 or bfloat16, dense. Sums, logits and gradients of bfloat16
/// rows are fp32.
struct TileSide {
  at::Tensor rows_nd;
  LabelColumns labels;
};

/// One side's softmax over the other side's rows, each [n]. log-sum-exp = scale * most + log_sum, where `most` is the
/// largest raw product (u . v without the scale), in the sums' type; apart, because the sum would round away what
/// matters where one logit is far above all others. In fp64: the mean raw product under the softmax, and the sum of T
/// times the raw product.
struct SoftmaxStats {
  at::Tensor most, log_sum, expected, positive;
  at::Tensor lse(double scale) const;  ///< fp64
};

/// `most` and `log_sum` of all ranks' rows, in rank order; the rest is left undefined. Collective.
SoftmaxStats gather_stats(const SoftmaxStats& own, Collectives& comm);

struct PairSoftmax {
  TileSide query, key;
  double scale = 1;  ///< >= 0: s_ij = scale * query_i . key_j
  /// Query i and key i + self are one row, and left out.
  std::optional<std::int64_t> self = std::nullopt;
  /// Element-wise work by tensor operations instead of fused loops: what every device but the CPU does.
  bool by_tensors = false;

  /// Softmax of each query over the keys.
  SoftmaxStats query_stats() const;
  /// Both from the same tiles: of each query over the keys, of each key over the queries.
  std::pair<SoftmaxStats, SoftmaxStats> both_stats() const;
};

/// Softmaxes of n rows over the other side's rows, which may come a block after the other. The tensors are SoftmaxSums
/// (losses/tile_loops.h).
struct RunningSoftmax {
  at::Tensor most, sum, weighted, positive;

  explicit RunningSoftmax(const at::Tensor& rows_nd);
  /// pairs.query: the rows; pairs.key: one more block.
  void add(const PairSoftmax& pairs);
  /// Over all blocks so far.
  SoftmaxStats stats() const;
};

/// One more block of pairs for both sides, each product taken once: keys are the rows of `key`, and its blocks are
/// queries.
void add_both(const PairSoftmax& pairs, RunningSoftmax& query, RunningSoftmax& key);

/// What dL/ds_ij consists of on one side: factor * softmax - T_ij * target, with T's weight a row.
struct SideGradient {
  at::Tensor most, log_sum;  ///< [n], or undefined: no softmax
  double factor = 0;         ///< of the softmax
  at::Tensor target;         ///< [n], of T: factor / sum_j T_ij
};

/// Gradients by the rows themselves: the scale times the sum over keys of dL/ds_ij key_j, [queries, d]; and the keys',
/// [keys, d], if asked for (else undefined). A target is subtracted from its softmax before either is rounded or
/// summed.
struct PairGradients {
  at::Tensor query_nd, key_nd;
};
PairGradients pair_gradients(const PairSoftmax& pairs, const SideGradient& query, const SideGradient& key,
                             bool with_keys);

/// A tile of raw products becomes dL/ds_ij.
void turn_to_gradient(const PairSoftmax& pairs, at::Tensor& products, const TilePlace& at, const SideGradient& query,
                      const SideGradient& key);

}  // namespace triptych

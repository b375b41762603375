// The autograd function under the contrastive losses: two sets of rows over all ranks, softmax by tiles.
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"
#include "losses/pair_exchange.h"
#include "losses/tile_factor.h"
#include "losses/tile_labels.h"

namespace triptych {

/// Weights of the two directions in the total.
struct DirectionWeights {
  double rows = 0.5, columns = 0.5;
};

struct TiledPairLoss {
  at::Tensor total;          ///< scalar with graph
  at::Tensor rows, columns;  ///< detached scalars; 0 where the weight is 0
};

/// weights.rows * mean_i (lse_j s_ij - sum_k T_ik s_ik / t_i) + weights.columns * (the same with i and j exchanged),
/// s_ij = scale * image_i . text_j over all ranks' rows, t_i = sum_k T_ik; means over this rank's rows.
/// Memory O(tile + B d), with Exchange::kRing O(tile + b d) and O(B) numbers. With the log-sum-exps of all ranks each
/// completes the gradient of its own rows, which is that of the SUM over ranks of the totals
/// (distributed/gather_with_grad.h). With kRing the backward is collective and needs `comm`.
///   image_bd [b, d], text_kd [k, d] with k = b n; labels: of all images (tile_labels.h says what T is). Collective.
TiledPairLoss tiled_pair_loss(const at::Tensor& image_bd, const at::Tensor& text_kd, const GatheredLabels& labels,
                              const at::Tensor& scale, Collectives& comm, DirectionWeights weights,
                              ProductType products = {}, Exchange exchange = Exchange::kGather);

}  // namespace triptych

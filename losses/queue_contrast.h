// Contrast of a batch with keys that take no gradient: momentum features of the batch and a queue of earlier ones, as
// in MoCo (He et al., CVPR 2020, arXiv:1911.05722), ALBEF (Li et al., NeurIPS 2021, arXiv:2107.07651) and TCL (Yang et
// al., CVPR 2022, arXiv:2202.10401: its CMA and IMC losses).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "losses/tile_factor.h"

namespace triptych {

/// Labels as class numbers: made once for all losses in which the same rows meet.
struct KeyClasses {
  at::Tensor number_N;     ///< int32 [n + k] of the keys; queries have those of their own pairs. 0 is equal to nothing
  at::Tensor positives_b;  ///< fp64, positives of each query
};

/// Keys of a query's own label are its positives, beside its own pair; kNoLabel: only that is.
///   labels_n int64 [n] of the batch, of which rows own .. own + b are the queries'; labels_k int64 [k] of the queue
KeyClasses key_classes(const at::Tensor& labels_n, const at::Tensor& labels_k, std::int64_t own, std::int64_t b);

/// n rows of the batch, then those of the queue.
struct QueueKeys {
  at::Tensor batch_nd;      ///< momentum features of the batch: of this rank's rows, or of all ranks' in rank order
  std::int64_t own = 0;     ///< query i and row i + own of the batch are one pair
  at::Tensor queue_kd;      ///< undefined: none
  KeyClasses classes = {};  ///< undefined: only own pairs are positives
};

/// Momentum features of the queries' own side, whose softmax over the same keys is the share `alpha` of the target.
struct QueueTeacher {
  at::Tensor rows_bd = {};  ///< undefined: alpha is 0
  double alpha = 0;
};

/// With s_ij = q_i . k_j / temperature over the n + k keys, P(i) = {own pair and keys of the same label}:
///   y_ij = alpha softmax_j(teacher_i . k_j / temperature) + (1 - alpha) [j in P(i)] / |P(i)|
///   L = mean_i ( -sum_j y_ij log softmax_j(s_ij) )
/// y is a constant: neither the teacher nor the temperature in it gets gradients. In tiles, so that the b x (n + k)
/// logits never exist: one sweep for the log-sum-exps of queries and teacher, one for the gradients; memory
/// O(tile + b d) beside the keys. No collective: keys take no gradient, so a rank's own mean is all its rows need.
///   query_bd [b, d] with gradient, keys and teacher [., d] in the same type; temperature: scalar tensor > 0, with
///   gradient; products: the type of the matrix products. Scalar, mean over the rank's own rows.
at::Tensor queue_contrast_loss(const at::Tensor& query_bd, const QueueKeys& keys, const at::Tensor& temperature,
                               const QueueTeacher& teacher = {}, ProductType products = {});

}  // namespace triptych

// Softmax cross-entropy over the classes of a corpus: the supervised baseline of UniCL's comparison.
#pragma once
#include <ATen/core/Tensor.h>

#include "losses/class_ids.h"
#include "losses/loss_output.h"

namespace triptych {

/// mean_i -sum_c q_ic log softmax(z_i)_c with q = (1 - e) onehot(y_i) + e / C (label smoothing: Szegedy et al.,
/// arXiv:1512.00567). Needs no other rank's rows.
/// For a row mixed of two labels onehot(y_i) is the sum of both, by their shares.
///   logits_bc [b, C]; labels int64 [b] in [0, C); label_smoothing e in [0, 1).
LossOutput softmax_cross_entropy(const at::Tensor& logits_bc, const RowLabels& labels, double label_smoothing = 0);

}  // namespace triptych

// UniCL's bidirectional contrastive loss over images, texts and labels (Yang et al., CVPR 2022, arXiv:2204.03610).
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"
#include "losses/class_ids.h"
#include "losses/loss_output.h"

namespace triptych {

enum class UniclDirections { kBoth, kRows, kColumns };

/// With s_ij = scale * u_i . v_j over the B rows of all ranks, P(i) = {k : y_k = y_i} (a row without label only matches
/// itself):
///   rows    (image to text):  mean_i  1/|P(i)| sum_{k in P(i)} -log( e^{s_ik} / sum_j e^{s_ij} )
///   columns (text to image):  mean_j  1/|P(j)| sum_{k in P(j)} -log( e^{s_kj} / sum_i e^{s_ij} )
///   both = (rows + columns) / 2, which is CLIP's loss when all labels differ.
/// Rows mixed of two labels: the mean over P(i) becomes sum_k T_ik (...) / sum_k T_ik with T = Y Y' (class_targets), as
/// the authors answered in issue 12 of their repository; without mixing T_ik is 1 in P(i) and 0 elsewhere. A rank
/// scores its b rows and its b columns against all B: memory O(b B). The total is the mean over the rank's own rows
/// (and columns); gradients reach the other ranks' embeddings through the gather.
///   image_bd, text_bd [b, d] unit rows, floating point; labels: int64 [b], kNoLabel for rows without label;
///   scale: scalar tensor, the multiplier exp(log_scale). Terms: "rows", "columns". Collective.
LossOutput unicl_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const RowLabels& labels,
                      const at::Tensor& scale, Collectives& comm, UniclDirections directions = UniclDirections::kBoth);

}  // namespace triptych

// UniCL's bidirectional contrastive loss over images, texts and labels (Yang et al., CVPR 2022, arXiv:2204.03610).
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"
#include "losses/class_ids.h"
#include "losses/loss_output.h"
#include "losses/pair_exchange.h"
#include "losses/tile_factor.h"

namespace triptych {

enum class UniclDirections { kBoth, kRows, kColumns };

/// With s_ij = scale * u_i . v_j over the B images and the K = B n texts of all ranks, n texts an image; a text has its
/// image's label and P(i) = {j : y_j = y_i} (an image without label and its n texts only match each other):
///   rows    (image to text):  mean_i  1/|P(i)| sum_{j in P(i)} -log( e^{s_ij} / sum_j' e^{s_ij'} )
///   columns (text to image):  mean_j  1/|P(j)| sum_{i in P(j)} -log( e^{s_ij} / sum_i' e^{s_i'j} )
///   both = (rows + columns) / 2, which is CLIP's loss when n = 1 and all labels differ. The paper has n = 1.
/// Rows mixed of two labels: the mean over P(i) becomes sum_k T_ik (...) / sum_k T_ik with T = Y Y' (tile_labels.h), as
/// the authors answered in issue 12 of their repository; without mixing T_ik is 1 in P(i) and 0 elsewhere.
/// A rank scores its b rows and its k = b n columns against all, in tiles: memory O(B n d). The total is the mean over
/// the rank's own rows (and columns); each rank completes the gradient of its own embeddings (tiled_pair.h).
///   image_bd [b, d], text_kd [k, d] unit rows, floating point, the texts of an image one below the other; labels:
///   int64 [b], kNoLabel for rows without label; scale: scalar tensor, the multiplier exp(log_scale). products: the
///   type of the matrix products; exchange: memory and traffic (pair_exchange.h). Terms: "rows", "columns". Collective.
LossOutput unicl_loss(const at::Tensor& image_bd, const at::Tensor& text_kd, const RowLabels& labels,
                      const at::Tensor& scale, Collectives& comm, UniclDirections directions = UniclDirections::kBoth,
                      ProductType products = {}, Exchange exchange = Exchange::kGather);

}  // namespace triptych

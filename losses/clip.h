// CLIP's symmetric contrastive loss (Radford et al., arXiv:2103.00020, figure 3).
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"
#include "losses/loss_output.h"
#include "losses/pair_exchange.h"
#include "losses/tile_factor.h"

namespace triptych {

/// With s_ij = scale * u_i . v_j over the B rows of all ranks:
///   L = 1/2 mean_i [ CE(s_i., i) + CE(s_.i, i) ]: every image belongs to its own text and to no other.
/// A rank scores its b rows and columns against all B, in tiles; the total is the mean over its own.
///   image_bd, text_bd [b, d] unit rows; scale: scalar tensor, exp(log_scale); products: the type of the matrix
///   products; exchange: memory and traffic (pair_exchange.h). Terms: "rows", "columns". Collective.
LossOutput clip_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const at::Tensor& scale, Collectives& comm,
                     ProductType products = {}, Exchange exchange = Exchange::kGather);

}  // namespace triptych

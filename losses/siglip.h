// SigLIP's pairwise sigmoid loss (Zhai et al., ICCV 2023, arXiv:2303.15343, algorithm 1).
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"
#include "losses/loss_output.h"
#include "losses/tile_factor.h"

namespace triptych {

/// With l_ij = scale * u_i . v_j + bias over the B rows of all ranks, z_ij = 1 for i = j and -1 otherwise:
///   L = -1/B sum_i sum_j log sigmoid(z_ij l_ij).
/// A rank sums over its own b images and all texts, divided by b; each rank completes the gradient of its own rows,
/// which is that of the sum over ranks (distributed/gather_with_grad.h). In tiles: memory O(B d). There is no
/// normalisation over the batch, so the gradients are summed in the forward.
///   image_bd, text_bd [b, d] unit rows; scale >= 0, bias: scalar tensors; products: the type of the matrix products.
///   Terms: "positive" and "negative", the parts of z = 1 and z = -1. Collective.
LossOutput siglip_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const at::Tensor& scale,
                       const at::Tensor& bias, Collectives& comm, ProductType products = {});

}  // namespace triptych

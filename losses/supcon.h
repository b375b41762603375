// Supervised contrastive learning (Khosla et al., arXiv:2004.11362), the form L_out (equation 2).
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"
#include "losses/loss_output.h"
#include "losses/tile_factor.h"

namespace triptych {

/// Over the V B views z of all ranks' B samples (equal labels = one class; a sample without label is its own class):
///   L = mean_i  -1/|P(i)| sum_{p in P(i)} log( e^{z_i . z_p / t} / sum_{a != i} e^{z_i . z_a / t} ),
/// P(i) = all other views of i's class; never empty, since V >= 2 (checked). The total is the mean over the rank's own
/// V b views; each rank completes the gradient of its own views. Memory O(V B d): the pairs are scored in tiles.
///   view_bvd [b, V, d] unit vectors; labels_b int64 [b]; temperature t > 0 divides; products: the type of the matrix
///   products. Collective.
LossOutput supcon_loss(const at::Tensor& view_bvd, const at::Tensor& labels_b, double temperature, Collectives& comm,
                       ProductType products = {});

}  // namespace triptych

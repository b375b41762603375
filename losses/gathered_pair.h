// Image and text embeddings of all ranks, in one collective.
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"

namespace triptych {

struct GatheredPair {
  at::Tensor image_Bd, text_Kd;  ///< [B, d] and [K, d], rank order, without graph
};

/// n, how many texts an image has: image_bd [b, d] and text_kd [k, d] with k = b n, the texts of an image one below the
/// other. Throws for shapes that do not fit.
std::int64_t texts_per_image(const at::Tensor& image_bd, const at::Tensor& text_kd);

/// Shapes as texts_per_image takes them, the same on every rank. Collective.
GatheredPair gather_pair(const at::Tensor& image_bd, const at::Tensor& text_kd, Collectives& comm);

}  // namespace triptych

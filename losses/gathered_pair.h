// Image and text embeddings of all ranks, in one collective.
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"

namespace triptych {

struct GatheredPair {
  at::Tensor image_Bd, text_Bd;  ///< [B, d], rank order, with graph
};

/// image_bd, text_bd [b, d], equal shapes (checked) on every rank. Collective; so is its backward.
GatheredPair gather_pair(const at::Tensor& image_bd, const at::Tensor& text_bd, Collectives& comm);

}  // namespace triptych

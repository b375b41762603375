// Gathers both embeddings stacked: one collective forward, one backward, in the same order on every rank.
#include "losses/gathered_pair.h"

#include <ATen/ATen.h>

#include "distributed/gather_with_grad.h"

namespace triptych {

GatheredPair gather_pair(const at::Tensor& image_bd, const at::Tensor& text_bd, Collectives& comm) {
  TORCH_CHECK(image_bd.dim() == 2 && image_bd.sizes() == text_bd.sizes(),
              "embeddings must be [b, d] alike, got images ", image_bd.sizes(), " and texts ", text_bd.sizes());
  const at::Tensor pair_B2d = all_gather_with_grad(at::stack({image_bd, text_bd}, 1), comm);
  return {pair_B2d.select(1, 0), pair_B2d.select(1, 1)};
}

}  // namespace triptych

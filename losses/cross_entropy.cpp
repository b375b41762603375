// Cross-entropy with label smoothing.
#include "losses/cross_entropy.h"

#include <ATen/ATen.h>

namespace triptych {

LossOutput softmax_cross_entropy(const at::Tensor& logits_bc, const at::Tensor& labels_b, double label_smoothing) {
  TORCH_CHECK(logits_bc.dim() == 2 && labels_b.dim() == 1 && logits_bc.size(0) == labels_b.size(0),
              "cross_entropy needs logits [b, C] and labels [b], got ", logits_bc.sizes(), " and ", labels_b.sizes());
  const at::Tensor log_share_bc = at::log_softmax(logits_bc, 1);
  const at::Tensor own = -log_share_bc.gather(1, labels_b.unsqueeze(1)).mean();
  const at::Tensor total =
      label_smoothing == 0 ? own : own * (1 - label_smoothing) - log_share_bc.mean() * label_smoothing;
  return {total, {{"cross_entropy", own.detach()}}};
}

}  // namespace triptych

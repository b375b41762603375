// Cross-entropy with label smoothing.
#include "losses/cross_entropy.h"

#include <ATen/ATen.h>

namespace triptych {

LossOutput softmax_cross_entropy(const at::Tensor& logits_bc, const RowLabels& labels, double label_smoothing) {
  TORCH_CHECK(logits_bc.dim() == 2 && labels.labels_b.dim() == 1 && logits_bc.size(0) == labels.labels_b.size(0),
              "cross_entropy needs logits [b, C] and labels [b], got ", logits_bc.sizes(), " and ",
              labels.labels_b.sizes());
  const at::Tensor log_share_bc = at::log_softmax(logits_bc, 1);
  const auto share_of = [&](const at::Tensor& label_b) {
    return log_share_bc.gather(1, label_b.unsqueeze(1)).squeeze(1);
  };
  at::Tensor target_b = share_of(labels.labels_b);
  if (labels.weight_b.defined()) {
    const at::Tensor weight_b = labels.weight_b.to(target_b.scalar_type());
    target_b = target_b * weight_b + share_of(labels.other_b) * (1 - weight_b);
  }
  const at::Tensor own = -target_b.mean();
  const at::Tensor total =
      label_smoothing == 0 ? own : own * (1 - label_smoothing) - log_share_bc.mean() * label_smoothing;
  return {total, {{"cross_entropy", own.detach()}}};
}

}  // namespace triptych

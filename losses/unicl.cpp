// The UniCL loss of a rank's rows and columns against the gathered batch.
#include "losses/unicl.h"

#include <ATen/ATen.h>

#include "losses/gathered_pair.h"

namespace triptych {
namespace {

/// query_bd scored against all of key_Bd: mean over rows of logsumexp_j s_ij - sum_k T_ik s_ik / sum_k T_ik.
at::Tensor one_direction(const at::Tensor& query_bd, const at::Tensor& key_Bd, const at::Tensor& target_bB,
                         const at::Tensor& scale) {
  const at::Tensor logits_bB = at::mm(query_bd * scale, key_Bd.t());
  const at::Tensor positive_b = (target_bB * logits_bB).sum(1);
  return (at::logsumexp(logits_bB, {1}) - positive_b / target_bB.sum(1)).mean();
}

}  // namespace

LossOutput unicl_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const RowLabels& labels,
                      const at::Tensor& scale, Collectives& comm, UniclDirections directions) {
  const GatheredPair all = gather_pair(image_bd, text_bd, comm);
  const at::Tensor target_bB = class_targets(labels, image_bd.scalar_type(), comm);
  if (directions == UniclDirections::kRows) {
    const at::Tensor rows = one_direction(image_bd, all.text_Bd, target_bB, scale);
    return {rows, {{"rows", rows.detach()}}};
  }
  const at::Tensor columns = one_direction(text_bd, all.image_Bd, target_bB, scale);
  if (directions == UniclDirections::kColumns) return {columns, {{"columns", columns.detach()}}};
  const at::Tensor rows = one_direction(image_bd, all.text_Bd, target_bB, scale);
  return {(rows + columns) / 2, {{"rows", rows.detach()}, {"columns", columns.detach()}}};
}

}  // namespace triptych

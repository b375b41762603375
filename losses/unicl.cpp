// The UniCL loss of a rank's rows and columns against the gathered batch.
#include "losses/unicl.h"

#include <ATen/ATen.h>

#include "losses/class_ids.h"
#include "losses/gathered_pair.h"

namespace triptych {
namespace {

/// query_bd scored against all of key_Bd: mean over rows of logsumexp_j s_ij - mean_{k in P(i)} s_ik.
at::Tensor one_direction(const at::Tensor& query_bd, const at::Tensor& key_Bd, const at::Tensor& same_class_bB,
                         const at::Tensor& scale) {
  const at::Tensor logits_bB = at::mm(query_bd * scale, key_Bd.t());
  const at::Tensor positive_b = at::where(same_class_bB, logits_bB, at::zeros({}, logits_bB.options())).sum(1);
  return (at::logsumexp(logits_bB, {1}) - positive_b / same_class_bB.sum(1)).mean();
}

}  // namespace

LossOutput unicl_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const at::Tensor& labels_b,
                      const at::Tensor& scale, Collectives& comm, UniclDirections directions) {
  const GatheredPair all = gather_pair(image_bd, text_bd, comm);
  const at::Tensor ids_B = gather_class_ids(labels_b, comm);
  const at::Tensor same_class_bB = local_rows(ids_B, comm).unsqueeze(1) == ids_B.unsqueeze(0);
  if (directions == UniclDirections::kRows) {
    const at::Tensor rows = one_direction(image_bd, all.text_Bd, same_class_bB, scale);
    return {rows, {{"rows", rows.detach()}}};
  }
  const at::Tensor columns = one_direction(text_bd, all.image_Bd, same_class_bB, scale);
  if (directions == UniclDirections::kColumns) return {columns, {{"columns", columns.detach()}}};
  const at::Tensor rows = one_direction(image_bd, all.text_Bd, same_class_bB, scale);
  return {(rows + columns) / 2, {{"rows", rows.detach()}, {"columns", columns.detach()}}};
}

}  // namespace triptych

// The UniCL loss of a rank's rows and columns against the gathered batch.
#include "losses/unicl.h"

#include <ATen/ATen.h>

#include "losses/class_ids.h"
#include "losses/gathered_pair.h"

namespace triptych {
namespace {

/// query_bd scored against all of key_Kd: mean over rows of logsumexp_j s_ij - mean_{k in P(i)} s_ik.
at::Tensor one_direction(const at::Tensor& query_bd, const at::Tensor& key_Kd, const at::Tensor& same_class_bK,
                         const at::Tensor& scale) {
  const at::Tensor logits_bK = at::mm(query_bd * scale, key_Kd.t());
  const at::Tensor positive_b = at::where(same_class_bK, logits_bK, at::zeros({}, logits_bK.options())).sum(1);
  return (at::logsumexp(logits_bK, {1}) - positive_b / same_class_bK.sum(1)).mean();
}

LossOutput single_term(const char* name, const at::Tensor& loss) {
  return {loss, {{name, loss.detach()}}};
}

}  // namespace

LossOutput unicl_loss(const at::Tensor& image_bd, const at::Tensor& text_kd, const at::Tensor& labels_b,
                      const at::Tensor& scale, Collectives& comm, UniclDirections directions) {
  const GatheredPair all = gather_pair(image_bd, text_kd, comm);
  const at::Tensor image_ids_B = gather_class_ids(labels_b, comm);
  const at::Tensor text_ids_K = image_ids_B.repeat_interleave(texts_per_image(image_bd, text_kd));
  const auto rows = [&] {
    const at::Tensor same_bK = local_rows(image_ids_B, comm).unsqueeze(1) == text_ids_K.unsqueeze(0);
    return one_direction(image_bd, all.text_Kd, same_bK, scale);
  };
  const auto columns = [&] {
    const at::Tensor same_kB = local_rows(text_ids_K, comm).unsqueeze(1) == image_ids_B.unsqueeze(0);
    return one_direction(text_kd, all.image_Bd, same_kB, scale);
  };
  if (directions == UniclDirections::kRows) return single_term("rows", rows());
  if (directions == UniclDirections::kColumns) return single_term("columns", columns());
  const at::Tensor column_loss = columns(), row_loss = rows();
  return {(row_loss + column_loss) / 2, {{"rows", row_loss.detach()}, {"columns", column_loss.detach()}}};
}

}  // namespace triptych

// The UniCL loss of a rank's rows and columns against the gathered batch.
#include "losses/unicl.h"

#include <ATen/ATen.h>

#include "losses/gathered_pair.h"

namespace triptych {
namespace {

/// query_bd scored against all of key_Kd: mean over rows of logsumexp_j s_ij - sum_k T_ik s_ik / sum_k T_ik.
at::Tensor one_direction(const at::Tensor& query_bd, const at::Tensor& key_Kd, const at::Tensor& target_bK,
                         const at::Tensor& scale) {
  const at::Tensor logits_bK = at::mm(query_bd * scale, key_Kd.t());
  const at::Tensor positive_b = (target_bK * logits_bK).sum(1);
  return (at::logsumexp(logits_bK, {1}) - positive_b / target_bK.sum(1)).mean();
}

LossOutput single_term(const char* name, const at::Tensor& loss) {
  return {loss, {{name, loss.detach()}}};
}

}  // namespace

LossOutput unicl_loss(const at::Tensor& image_bd, const at::Tensor& text_kd, const RowLabels& labels,
                      const at::Tensor& scale, Collectives& comm, UniclDirections directions) {
  const GatheredPair all = gather_pair(image_bd, text_kd, comm);
  const at::Tensor target_bB = class_targets(labels, image_bd.scalar_type(), comm);
  const std::int64_t texts = texts_per_image(image_bd, text_kd);  // each has its image's label
  const auto rows = [&] { return one_direction(image_bd, all.text_Kd, target_bB.repeat_interleave(texts, 1), scale); };
  const auto columns = [&] {
    return one_direction(text_kd, all.image_Bd, target_bB.repeat_interleave(texts, 0), scale);
  };
  if (directions == UniclDirections::kRows) return single_term("rows", rows());
  if (directions == UniclDirections::kColumns) return single_term("columns", columns());
  const at::Tensor column_loss = columns(), row_loss = rows();
  return {(row_loss + column_loss) / 2, {{"rows", row_loss.detach()}, {"columns", column_loss.detach()}}};
}

}  // namespace triptych

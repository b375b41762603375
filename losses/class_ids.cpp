// Class ids over all ranks.
#include "losses/class_ids.h"

#include <ATen/ATen.h>

#include "core/types/batch.h"

namespace triptych {

at::Tensor gather_class_ids(const at::Tensor& labels_b, Collectives& comm) {
  TORCH_CHECK(labels_b.dim() == 1 && labels_b.scalar_type() == at::kLong, "labels must be int64 [b], got ",
              labels_b.scalar_type(), " ", labels_b.sizes());
  const at::Tensor labels_B = comm.all_gather(labels_b);
  const at::Tensor row_B = at::arange(labels_B.size(0), labels_B.options());
  return at::where(labels_B == kNoLabel, -1 - row_B, labels_B);  // below zero: never equal to a label
}

at::Tensor class_targets(const RowLabels& labels, at::ScalarType dtype, Collectives& comm) {
  const at::Tensor ids_B = gather_class_ids(labels.labels_b, comm);
  const auto equal = [&](const at::Tensor& one_B, const at::Tensor& other_B) {
    return (local_rows(one_B, comm).unsqueeze(1) == other_B.unsqueeze(0)).to(dtype);
  };
  if (!labels.weight_b.defined()) return equal(ids_B, ids_B);
  const at::Tensor other_B = comm.all_gather(labels.other_b);
  TORCH_CHECK(ids_B.ge(0).logical_and_(other_B.ge(0)).all().item<bool>(), "rows without label cannot be mixed");
  const at::Tensor share_B = comm.all_gather(labels.weight_b.to(dtype)), rest_B = 1 - share_B;
  const auto part = [&](const at::Tensor& one_B, const at::Tensor& one_share_B, const at::Tensor& two_B,
                        const at::Tensor& two_share_B) {
    return equal(one_B, two_B) * local_rows(one_share_B, comm).unsqueeze(1) * two_share_B.unsqueeze(0);
  };
  return part(ids_B, share_B, ids_B, share_B) + part(ids_B, share_B, other_B, rest_B) +
         part(other_B, rest_B, ids_B, share_B) + part(other_B, rest_B, other_B, rest_B);
}

at::Tensor local_rows(const at::Tensor& all_B, Collectives& comm) {
  const std::int64_t b = all_B.size(0) / comm.size();
  return all_B.narrow(0, comm.rank() * b, b);
}

}  // namespace triptych

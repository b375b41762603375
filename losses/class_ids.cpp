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

at::Tensor local_rows(const at::Tensor& all_B, Collectives& comm) {
  const std::int64_t b = all_B.size(0) / comm.size();
  return all_B.narrow(0, comm.rank() * b, b);
}

}  // namespace triptych

// Which rows of the global batch are of one class.
#pragma once
#include <ATen/core/Tensor.h>

#include "distributed/collectives.h"

namespace triptych {

/// labels_b int64 [b], kNoLabel = the row is its own class -> ids of all rows [B]: two rows are of one class exactly if
/// their ids are equal. Labels are gathered first, so that an unlabelled row's id is used by no other row of any rank.
/// Collective.
at::Tensor gather_class_ids(const at::Tensor& labels_b, Collectives& comm);

/// Rows [rank b, (rank + 1) b) of a tensor over all ranks' rows.
at::Tensor local_rows(const at::Tensor& all_B, Collectives& comm);

}  // namespace triptych

// Which rows of the global batch are of one class.
#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

#include "distributed/collectives.h"

namespace triptych {

/// labels_b int64 [b], kNoLabel = the row is its own class -> ids of all rows [B]: two rows are of one class exactly if
/// their ids are equal. Labels are gathered first, so that an unlabelled row's id is used by no other row of any rank.
/// Collective.
at::Tensor gather_class_ids(const at::Tensor& labels_b, Collectives& comm);

/// Labels of a rank's rows: int64 [b]. Rows mixed by mixup or cutmix have a second one, other_b, and the share weight_b
/// [b] of the first; both are undefined where nothing is mixed.
struct RowLabels {
  RowLabels(at::Tensor labels) : labels_b(std::move(labels)) {}  // NOLINT: plain labels are row labels
  RowLabels(at::Tensor labels, at::Tensor other, at::Tensor weight)
      : labels_b(std::move(labels)), other_b(std::move(other)), weight_b(std::move(weight)) {}
  at::Tensor labels_b, other_b, weight_b;
};

/// Rows [rank b, (rank + 1) b) of a tensor over all ranks' rows.
at::Tensor local_rows(const at::Tensor& all_B, Collectives& comm);

}  // namespace triptych

// Who is of one class, in O(B) memory: class numbers and shares instead of a matrix of targets.
#pragma once
#include <ATen/core/Tensor.h>

#include "losses/class_ids.h"

namespace triptych {

/// Labels of n rows. Without mixing `second` and `share` are undefined.
struct LabelColumns {
  at::Tensor first;   ///< int32 [n], class numbers
  at::Tensor second;  ///< int32 [n]
  at::Tensor share;   ///< [n], of `first`; the rest is `second`'s

  std::int64_t size() const { return first.size(0); }
  LabelColumns narrow(std::int64_t begin, std::int64_t length) const;
  /// Every row n times, one below the other.
  LabelColumns repeat(std::int64_t n) const;
};

/// The labels of all ranks' rows, as numbers. With row i of Y holding the shares of its labels, the targets are
///   T_ij = sum over labels c of Y_ic Y_jc: 1 where the (unmixed) labels are equal, else 0;
/// mass_B [B] is sum_j T_ij. A row without label is a class of its own; it cannot be mixed. Collective.
struct GatheredLabels {
  LabelColumns labels_B;
  at::Tensor mass_B;  ///< fp64
};
GatheredLabels gather_labels(const RowLabels& labels, at::ScalarType dtype, Collectives& comm);

/// Labels that all differ: class i is row i.
GatheredLabels distinct_labels(std::int64_t rows, at::Device device);

}  // namespace triptych

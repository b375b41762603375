// The right-hand factors of a tile's matrix products, prepared once for the tiles that meet them. Rows may be bfloat16;
// sums are then fp32.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace triptych {

/// The type that embeddings are rounded to before their products are taken; none: their own. Sums, logits and gradients
/// keep the embeddings' type.
using ProductType = std::optional<at::ScalarType>;

/// Embeddings without graph, as a tiled loss multiplies them.
at::Tensor rows_for_products(const at::Tensor& rows_nd, ProductType type);

/// Rows in the type that this machine multiplies: bfloat16 on a processor that has no instructions for it becomes fp32,
/// the same numbers.
at::Tensor multipliable(const at::Tensor& rows_nd);

/// Rows K [n, d] for left K'. K is multipliable().
class TransposedFactor {
 public:
  explicit TransposedFactor(at::Tensor rows_nd);
  /// out = left K'. left [m, d] in K's type, out [m, n] in the sums' type, both with dense rows.
  void multiply(const at::Tensor& left_md, at::Tensor& out) const;

 private:
  at::Tensor rows_nd_;
  at::Tensor packed_;  ///< undefined: multiplied as it is
};

/// Rows K [n, d] for left K. K is multipliable().
class RowsFactor {
 public:
  explicit RowsFactor(at::Tensor rows_nd);
  /// out += left K. left [m, n] in K's type, out [m, d] in the sums' type, out with dense rows.
  void multiply_add(const at::Tensor& left, at::Tensor& out) const;

 private:
  at::Tensor rows_nd_;
  at::Tensor packed_;  ///< undefined: multiplied as it is
};

}  // namespace triptych

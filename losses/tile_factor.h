// The right-hand factors of a tile's matrix products, prepared once for all tiles that meet them. Rows may be bfloat16;
// sums are then fp32.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

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
  /// out = left K', rows [first, first + out.size(1)) of K. left [m, d] in K's type, out [m, count] in the sums' type,
  /// both with dense rows. `first` is a multiple of kBlock.
  void multiply(const at::Tensor& left_md, std::int64_t first, at::Tensor& out) const;

  static constexpr std::int64_t kBlock = 64;  ///< rows that are packed together

 private:
  at::Tensor rows_nd_;
  at::Tensor packed_;  ///< undefined: not bfloat16 on a processor
};

/// Rows K [n, d] for left K, `step` of them at a time. K is multipliable().
class RowsFactor {
 public:
  RowsFactor(at::Tensor rows_nd, std::int64_t step);
  /// out += left K, rows [first, first + left.size(1)) of K: those of a step. left [m, count] in K's type, out [m, d]
  /// in the sums' type, both with dense rows.
  void multiply_add(const at::Tensor& left, std::int64_t first, at::Tensor& out) const;

 private:
  at::Tensor rows_nd_;
  std::int64_t step_;
  std::vector<at::Tensor> packed_;  ///< by step; empty: not bfloat16 on a processor
};

}  // namespace triptych

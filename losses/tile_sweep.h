// The walk over all pairs of two sets of rows, a tile of their products at a time, and the sums that gradients are.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "losses/tile_factor.h"

namespace triptych {

/// Where a tile lies among queries (rows) and keys (columns).
struct TilePlace {
  std::int64_t row, rows, column, columns;
};

/// The largest tile. It depends on nothing but device and type of the rows, so that neither do the sums' orders on the
/// number of ranks. Processors: larger in fp32, where at::mm copies its factors for every tile (16 MiB); else the 2 MiB
/// that a cache holds. GPUs: large, for fewer launches.
struct TileSize {
  std::int64_t rows, columns;
  static TileSize of(at::ScalarType rows, at::DeviceType device = at::kCPU);
};

/// What sums of products of such rows are held in: fp32 for bfloat16.
at::TensorOptions sums_of(const at::Tensor& rows_nd);

/// Raw products of queries and keys: calls `use` with each tile, [rows, columns] in the sums' type without gaps, which
/// it may change; the memory is used again for the next. Keys are the outer loop.
void for_tiles(const at::Tensor& query_nd, const at::Tensor& key_nd,
               const std::function<void(at::Tensor& tile, const TilePlace& at)>& use);

/// The same for two sets of as many queries: calls `use` with the tiles of both at a place.
void for_tile_pairs(const at::Tensor& one_nd, const at::Tensor& other_nd, const at::Tensor& key_nd,
                    const std::function<void(at::Tensor& one, at::Tensor& other, const TilePlace& at)>& use);

/// The sum over tiles of a factor for each pair times the other side's row.
class GradientSums {
 public:
  GradientSums(const at::Tensor& query_nd, const at::Tensor& key_nd, bool with_keys);
  /// tile: the factors, in the sums' type.
  void add(const at::Tensor& tile, const TilePlace& at);
  /// The sums times a number, taken out: nothing can be added any more. Undefined without keys.
  at::Tensor take_query(double times) { return std::move(query_gradient_).mul_(times); }
  at::Tensor take_key(double times) {
    return key_gradient_.defined() ? std::move(key_gradient_).mul_(times) : at::Tensor();
  }

 private:
  at::Tensor query_nd_, key_nd_;
  std::optional<RowsFactor> keys_;  ///< those of `column_`
  std::int64_t column_ = -1;
  at::Tensor query_gradient_, key_gradient_;
};

}  // namespace triptych

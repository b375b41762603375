// One room for all tiles; products by tile_factor.
#include "losses/tile_sweep.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <algorithm>

namespace triptych {

at::TensorOptions sums_of(const at::Tensor& rows_nd) {
  return rows_nd.options().dtype(at::toOpMathType(rows_nd.scalar_type()));
}

void for_tiles(const at::Tensor& query_nd, const at::Tensor& key_nd,
               const std::function<void(at::Tensor& tile, const TilePlace& at)>& use) {
  const auto queries = query_nd.size(0), keys = key_nd.size(0);
  const at::Tensor left_nd = multipliable(query_nd);
  const TransposedFactor right(multipliable(key_nd));
  const at::Tensor room =
      at::empty({std::min(TilePlace::kRows, queries) * std::min(TilePlace::kColumns, keys)}, sums_of(query_nd));
  for (std::int64_t row = 0; row < queries; row += TilePlace::kRows) {
    for (std::int64_t column = 0; column < keys; column += TilePlace::kColumns) {
      const TilePlace at{row, std::min(TilePlace::kRows, queries - row), column,
                         std::min(TilePlace::kColumns, keys - column)};
      at::Tensor tile = room.narrow(0, 0, at.rows * at.columns).view({at.rows, at.columns});
      right.multiply(left_nd.narrow(0, at.row, at.rows), at.column, tile);
      use(tile, at);
    }
  }
}

GradientSums::GradientSums(const at::Tensor& query_nd, const at::Tensor& key_nd, bool with_keys)
    : type_(multipliable(query_nd.narrow(0, 0, 0)).scalar_type()),
      keys_(multipliable(key_nd), TilePlace::kColumns),
      query_gradient_(at::zeros(query_nd.sizes(), sums_of(query_nd))) {
  if (!with_keys) return;
  queries_.emplace(multipliable(query_nd), TilePlace::kRows);
  key_gradient_ = at::zeros(key_nd.sizes(), sums_of(key_nd));
}

void GradientSums::add(const at::Tensor& tile, const TilePlace& at) {
  const at::Tensor left = tile.to(type_);
  at::Tensor to_query = query_gradient_.narrow(0, at.row, at.rows);
  keys_.multiply_add(left, at.column, to_query);
  if (!queries_) return;
  at::Tensor to_key = key_gradient_.narrow(0, at.column, at.columns);
  queries_->multiply_add(type_ == tile.scalar_type() ? left.t() : left.t().contiguous(), at.row, to_key);
}

}  // namespace triptych

// One room for all tiles; products by tile_factor. Factors are prepared for a tile at a time, so that rows have no
// second copy: keys once, because they are the outer loop, queries for each of their tiles.
#include "losses/tile_sweep.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <algorithm>
#include <span>
#include <vector>

namespace triptych {

at::TensorOptions sums_of(const at::Tensor& rows_nd) {
  return rows_nd.options().dtype(at::toOpMathType(rows_nd.scalar_type()));
}

TileSize TileSize::of(at::ScalarType rows, at::DeviceType device) {
  if (device != at::kCPU) return {4096, 8192};  // few launches of kernels; at 8 temporaries 1 GiB in fp32
  return rows == at::kFloat ? TileSize{2048, 2048} : TileSize{512, 1024};
}

namespace {

/// Calls `use` with the tiles of all sets of queries at each place.
void for_tiles_of(std::span<const at::Tensor> queries, const at::Tensor& key_nd,
                  const std::function<void(std::span<at::Tensor> tiles, const TilePlace& at)>& use) {
  const auto rows = queries[0].size(0), keys = key_nd.size(0);
  const auto size = TileSize::of(key_nd.scalar_type(), key_nd.device().type());
  std::vector<at::Tensor> rooms, tiles(queries.size());
  for (const auto& query_nd : queries) {
    rooms.push_back(at::empty({std::min(size.rows, rows) * std::min(size.columns, keys)}, sums_of(query_nd)));
  }
  for (std::int64_t column = 0; column < keys; column += size.columns) {
    const std::int64_t columns = std::min(size.columns, keys - column);
    const TransposedFactor right(multipliable(key_nd.narrow(0, column, columns)));
    for (std::int64_t row = 0; row < rows; row += size.rows) {
      const TilePlace at{row, std::min(size.rows, rows - row), column, columns};
      for (std::size_t i = 0; i < queries.size(); ++i) {
        tiles[i] = rooms[i].narrow(0, 0, at.rows * at.columns).view({at.rows, at.columns});
        right.multiply(multipliable(queries[i].narrow(0, at.row, at.rows)), tiles[i]);
      }
      use(tiles, at);
    }
  }
}

}  // namespace

void for_tiles(const at::Tensor& query_nd, const at::Tensor& key_nd,
               const std::function<void(at::Tensor& tile, const TilePlace& at)>& use) {
  for_tiles_of({&query_nd, 1}, key_nd, [&](auto tiles, const TilePlace& at) { use(tiles[0], at); });
}

void for_tile_pairs(const at::Tensor& one_nd, const at::Tensor& other_nd, const at::Tensor& key_nd,
                    const std::function<void(at::Tensor& one, at::Tensor& other, const TilePlace& at)>& use) {
  const std::vector<at::Tensor> queries{one_nd, other_nd};
  for_tiles_of(queries, key_nd, [&](auto tiles, const TilePlace& at) { use(tiles[0], tiles[1], at); });
}

GradientSums::GradientSums(const at::Tensor& query_nd, const at::Tensor& key_nd, bool with_keys)
    : query_nd_(query_nd), key_nd_(key_nd), query_gradient_(at::zeros(query_nd.sizes(), sums_of(query_nd))) {
  if (with_keys) key_gradient_ = at::zeros(key_nd.sizes(), sums_of(key_nd));
}

void GradientSums::add(const at::Tensor& tile, const TilePlace& at) {
  if (at.column != column_) {
    keys_.emplace(multipliable(key_nd_.narrow(0, at.column, at.columns)));
    column_ = at.column;
  }
  const at::Tensor queries = multipliable(query_nd_.narrow(0, at.row, at.rows));
  const at::Tensor left = tile.to(queries.scalar_type());
  at::Tensor to_query = query_gradient_.narrow(0, at.row, at.rows);
  keys_->multiply_add(left, to_query);
  if (!key_gradient_.defined()) return;
  at::Tensor to_key = key_gradient_.narrow(0, at.column, at.columns);
  RowsFactor(queries).multiply_add(left.t(), to_key);
}

}  // namespace triptych

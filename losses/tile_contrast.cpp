// Two sweeps over tiles of logits: one for the softmaxes, one for the gradients.
#include "losses/tile_contrast.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "losses/tile_loops.h"

namespace triptych {
namespace {

constexpr std::int64_t kRowsAThread = 16, kColumnsAThread = 256;

using Place = TilePlace;

template <class Real>
SoftmaxSums<Real> sums_from(const RunningSoftmax& softmax, std::int64_t first) {
  return {softmax.most.data_ptr<Real>() + first, softmax.sum.data_ptr<double>() + first,
          softmax.weighted.data_ptr<double>() + first, softmax.positive.data_ptr<double>() + first};
}

// ---- Fused loops ----

template <class Real>
TileLabels<Real> labels_from(const LabelColumns& labels, std::int64_t first) {
  TileLabels<Real> from;
  from.first = labels.first.data_ptr<std::int32_t>() + first;
  if (labels.share.defined()) {
    from.second = labels.second.data_ptr<std::int32_t>() + first;
    from.share = labels.share.data_ptr<Real>() + first;
  }
  return from;
}

template <class Real>
LogitTile<Real> tile_at(const PairSoftmax& pairs, const at::Tensor& products, const Place& at) {
  LogitTile<Real> tile;
  tile.values = products.data_ptr<Real>();
  tile.rows = at.rows;
  tile.columns = at.columns;
  tile.scale = static_cast<Real>(pairs.scale);
  tile.row_labels = labels_from<Real>(pairs.query.labels, at.row);
  tile.column_labels = labels_from<Real>(pairs.key.labels, at.column);
  if (pairs.self) tile.self = at.row + *pairs.self - at.column;
  return tile;
}

template <class Real>
void add_by_loops(const PairSoftmax& pairs, const at::Tensor& products, const Place& at, const RunningSoftmax* query,
                  const RunningSoftmax* key) {
  const auto tile = tile_at<Real>(pairs, products, at);
  const auto& loops = tile_loops<Real>();
  if (query != nullptr) {
    const auto sums = sums_from<Real>(*query, at.row);
    at::parallel_for(0, at.rows, kRowsAThread, [&](auto begin, auto end) { loops.add_rows(tile, sums, begin, end); });
  }
  if (key != nullptr) {
    const auto sums = sums_from<Real>(*key, at.column);
    at::parallel_for(0, at.columns, kColumnsAThread,
                     [&](auto begin, auto end) { loops.add_columns(tile, sums, begin, end); });
  }
}

template <class Real>
SoftmaxGradient<Real> gradient_from(const SideGradient& side, std::int64_t first) {
  const auto from = [&](const at::Tensor& t) { return t.defined() ? t.data_ptr<Real>() + first : nullptr; };
  return {from(side.most), from(side.log_sum), static_cast<Real>(side.factor), from(side.target)};
}

template <class Real>
void turn_by_loops(const PairSoftmax& pairs, const at::Tensor& products, const Place& at, const SideGradient& query,
                   const SideGradient& key) {
  const auto tile = tile_at<Real>(pairs, products, at);
  const auto row = gradient_from<Real>(query, at.row), column = gradient_from<Real>(key, at.column);
  at::parallel_for(0, at.rows, kRowsAThread,
                   [&](auto begin, auto end) { tile_loops<Real>().to_gradient(tile, row, column, begin, end); });
}

// ---- Tensor operations ----

/// T of the tile, 0 where a row meets itself.
at::Tensor targets_at(const PairSoftmax& pairs, const at::Tensor& products, const Place& at) {
  const auto rows = pairs.query.labels.narrow(at.row, at.rows),
             columns = pairs.key.labels.narrow(at.column, at.columns);
  const auto equal = [&](const at::Tensor& a, const at::Tensor& b) {
    return (a.unsqueeze(1) == b.unsqueeze(0)).to(products.scalar_type());
  };
  at::Tensor targets = equal(rows.first, columns.first);
  if (rows.share.defined()) {
    const at::Tensor one = rows.share.unsqueeze(1), other = columns.share.unsqueeze(0);
    targets = targets * one * other + equal(rows.first, columns.second) * one * (1 - other) +
              equal(rows.second, columns.first) * (1 - one) * other +
              equal(rows.second, columns.second) * (1 - one) * (1 - other);
  }
  return targets;
}

/// Sets element (i, i + self) of a tile.
void fill_self(const PairSoftmax& pairs, const Place& at, at::Tensor& tile, double value) {
  if (!pairs.self) return;
  const auto offset = at.row + *pairs.self - at.column;
  if (offset > -at.rows && offset < at.columns) tile.diagonal(offset).fill_(value);
}

/// The softmax over dimension `along` of a tile. `counted`: the products, -infinity where a row meets itself.
void add_by_tensors(const at::Tensor& counted, const at::Tensor& products, const at::Tensor& targets, double scale,
                    std::int64_t along, const RunningSoftmax& sums, std::int64_t first) {
  const auto n = products.size(1 - along);
  at::Tensor most = sums.most.narrow(0, first, n);
  const at::Tensor now = at::maximum(most, counted.amax({along})), below = counted - now.unsqueeze(along);
  const at::Tensor e = (below * scale).exp();
  at::Tensor sum = sums.sum.narrow(0, first, n), weighted = sums.weighted.narrow(0, first, n);
  // Before the first tile `most` is -infinity and the sums are 0.
  const at::Tensor risen = (most - now).to(at::kDouble).nan_to_num(0, 0, 0), before = (risen * scale).exp();
  weighted.add_(risen * sum).mul_(before).add_((e * below).nan_to_num(0).sum({along}, false, at::kDouble));
  sum.mul_(before).add_(e.sum({along}, false, at::kDouble));
  sums.positive.narrow(0, first, n).add_((targets * products).sum({along}, false, at::kDouble));
  most.copy_(now);
}

void add_by_tensors(const PairSoftmax& pairs, const at::Tensor& products, const Place& at, const RunningSoftmax* query,
                    const RunningSoftmax* key) {
  at::Tensor targets = targets_at(pairs, products, at), counted = products.clone();
  fill_self(pairs, at, targets, 0);
  fill_self(pairs, at, counted, -std::numeric_limits<double>::infinity());
  if (query != nullptr) add_by_tensors(counted, products, targets, pairs.scale, 1, *query, at.row);
  if (key != nullptr) add_by_tensors(counted, products, targets, pairs.scale, 0, *key, at.column);
}

void turn_by_tensors(const PairSoftmax& pairs, at::Tensor& products, const Place& at, const SideGradient& query,
                     const SideGradient& key) {
  at::Tensor gradient = targets_at(pairs, products, at);
  gradient.mul_(query.target.narrow(0, at.row, at.rows).unsqueeze(1) +
                key.target.narrow(0, at.column, at.columns).unsqueeze(0));
  gradient.neg_();
  const auto add = [&](const SideGradient& side, std::int64_t first, std::int64_t along) {
    if (!side.most.defined()) return;
    const auto part = [&](const at::Tensor& t) {
      return t.narrow(0, first, products.size(1 - along)).unsqueeze(along);
    };
    gradient.add_((products - part(side.most)).mul_(pairs.scale).sub_(part(side.log_sum)).exp_(), side.factor);
  };
  add(query, at.row, 1);
  add(key, at.column, 0);
  fill_self(pairs, at, gradient, 0);
  products.copy_(gradient);
}

void add_tile(const PairSoftmax& pairs, const at::Tensor& products, const Place& at, const RunningSoftmax* query,
              const RunningSoftmax* key) {
  if (pairs.by_tensors || !products.is_cpu()) return add_by_tensors(pairs, products, at, query, key);
  if (products.scalar_type() == at::kDouble) return add_by_loops<double>(pairs, products, at, query, key);
  add_by_loops<float>(pairs, products, at, query, key);
}

}  // namespace

at::Tensor SoftmaxStats::lse(double scale) const {
  return most.to(at::kDouble) * scale + log_sum.to(at::kDouble);
}

SoftmaxStats gather_stats(const SoftmaxStats& own, Collectives& comm) {
  const at::Tensor all = comm.all_gather(at::stack({own.most, own.log_sum}, 1)).t().contiguous();
  return {all[0], all[1], {}, {}};
}

RunningSoftmax::RunningSoftmax(const at::Tensor& rows_nd)
    : most(at::full({rows_nd.size(0)}, -std::numeric_limits<double>::infinity(), sums_of(rows_nd))),
      sum(at::zeros({rows_nd.size(0)}, rows_nd.options().dtype(at::kDouble))),
      weighted(at::zeros_like(sum)),
      positive(at::zeros_like(sum)) {}

void RunningSoftmax::add(const PairSoftmax& pairs) {
  for_tiles(pairs.query.rows_nd, pairs.key.rows_nd,
            [&](const at::Tensor& tile, const Place& at) { add_tile(pairs, tile, at, this, nullptr); });
}

SoftmaxStats RunningSoftmax::stats() const {
  return {most, sum.log().to(most.scalar_type()), most.to(at::kDouble) + weighted / sum, positive};
}

SoftmaxStats PairSoftmax::query_stats() const {
  RunningSoftmax softmax(query.rows_nd);
  softmax.add(*this);
  return softmax.stats();
}

std::pair<SoftmaxStats, SoftmaxStats> PairSoftmax::both_stats() const {
  RunningSoftmax of_query(query.rows_nd), of_key(key.rows_nd);
  add_both(*this, of_query, of_key);
  return {of_query.stats(), of_key.stats()};
}

void add_both(const PairSoftmax& pairs, RunningSoftmax& query, RunningSoftmax& key) {
  for_tiles(pairs.query.rows_nd, pairs.key.rows_nd,
            [&](const at::Tensor& tile, const Place& at) { add_tile(pairs, tile, at, &query, &key); });
}

void turn_to_gradient(const PairSoftmax& pairs, at::Tensor& products, const Place& at, const SideGradient& query,
                      const SideGradient& key) {
  if (pairs.by_tensors || !products.is_cpu()) return turn_by_tensors(pairs, products, at, query, key);
  if (products.scalar_type() == at::kDouble) return turn_by_loops<double>(pairs, products, at, query, key);
  turn_by_loops<float>(pairs, products, at, query, key);
}

PairGradients pair_gradients(const PairSoftmax& pairs, const SideGradient& query, const SideGradient& key,
                             bool with_keys) {
  GradientSums sums(pairs.query.rows_nd, pairs.key.rows_nd, with_keys);
  for_tiles(pairs.query.rows_nd, pairs.key.rows_nd, [&](at::Tensor& tile, const Place& at) {
    turn_to_gradient(pairs, tile, at, query, key);
    sums.add(tile, at);
  });
  return {sums.take_query(pairs.scale), sums.take_key(pairs.scale)};
}

}  // namespace triptych

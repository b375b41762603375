// Shards are taken in order, so two halves of a node meet at the end of the list of nodes as soon as both are there.
#include "distributed/shard_tree.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

namespace triptych {
namespace {

/// `left` and `right` are the two halves of one node.
bool are_halves(std::int64_t shards, ShardSpan left, ShardSpan right) {
  const ShardSpan both{left.begin, right.end};
  ShardSpan node{0, shards};
  while (node.size() > both.size()) node = both.begin < node.left().end ? node.left() : node.right();
  return node == both && node.left() == left;
}

/// Counts the nodes that are held while shards come one by one: `most` at a time, `nodes` at the end.
struct HeldNodes {
  std::vector<ShardSpan> nodes;
  std::int64_t most = 0;
  HeldNodes(std::int64_t shards, ShardSpan part) {
    for (auto shard = part.begin; shard < part.end; ++shard) {
      nodes.push_back({shard, shard + 1});
      most = std::max<std::int64_t>(most, std::ssize(nodes));
      while (nodes.size() > 1 && are_halves(shards, nodes.end()[-2], nodes.back())) {
        nodes.end()[-2].end = nodes.back().end;
        nodes.pop_back();
      }
    }
  }
};

/// The elements of a dense tensor as they lie in memory.
at::Tensor in_a_row(const at::Tensor& dense) {
  return dense.as_strided({dense.numel()}, {1}, dense.storage_offset());
}

/// Calls use(i, first element in tensor i, first element in the piece, elements) for what the piece [first, first +
/// count) of all tensors, one behind the other, has of each. Undefined tensors have no elements.
template <class Use>
void each_part(const std::vector<at::Tensor>& tensors, std::int64_t first, std::int64_t count, Use&& use) {
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < tensors.size() && begin < first + count; ++i) {
    const std::int64_t size = tensors[i].defined() ? tensors[i].numel() : 0;
    const auto from = std::max(begin, first), to = std::min(begin + size, first + count);
    if (from < to) use(i, from - begin, from - first, to - from);
    begin += size;
  }
}

}  // namespace

std::vector<ShardSpan> covering_nodes(std::int64_t shards, ShardSpan part) {
  return HeldNodes(shards, part).nodes;
}

ShardSpan shards_of_rank(std::int64_t shards, std::int64_t rank, std::int64_t ranks) {
  TORCH_CHECK(shards > 0 && shards % ranks == 0, shards, " shards do not divide among ", ranks, " ranks");
  const auto share = shards / ranks;
  return {rank * share, (rank + 1) * share};
}

std::int64_t most_shard_sums(std::int64_t shards, std::int64_t ranks) {
  std::int64_t most = 0;
  for (std::int64_t rank = 0; rank < ranks; ++rank)
    most = std::max(most, HeldNodes(shards, shards_of_rank(shards, rank, ranks)).most);
  return most;
}

std::int64_t most_nodes_sent(std::int64_t shards, std::int64_t ranks) {
  std::int64_t most = 0;
  for (std::int64_t rank = 0; rank < ranks; ++rank)
    most = std::max<std::int64_t>(most, std::ssize(covering_nodes(shards, shards_of_rank(shards, rank, ranks))));
  return most;
}

ShardTree::ShardTree(std::int64_t shards, std::vector<at::Tensor> parameters, Collectives& comm,
                     std::int64_t gather_bytes)
    : shards_(shards),
      parameters_(std::move(parameters)),
      comm_(comm),
      mine_(shards_of_rank(shards, comm.rank(), comm.size())),
      common_(parameters_.size()) {
  for (const auto& parameter : parameters_) {
    TORCH_CHECK(parameter.scalar_type() == parameters_[0].scalar_type() &&
                    parameter.device() == parameters_[0].device() && parameter.is_non_overlapping_and_dense(),
                "a shard tree has dense parameters of one type on one device");
  }
  most_nodes_ = most_nodes_sent(shards, comm.size());
  for (std::int64_t rank = 0; rank < comm.size(); ++rank) {
    auto row = rank * most_nodes_;
    for (const auto& node : covering_nodes(shards, shards_of_rank(shards, rank, comm.size()))) {
      nodes_of_all_.push_back(node);
      rows_.push_back(row++);
    }
  }
  const auto row_bytes = static_cast<std::int64_t>(parameters_[0].element_size()) * most_nodes_ * comm.size();
  piece_ = std::max<std::int64_t>(gather_bytes / row_bytes, 1);
}

void ShardTree::clear() {
  nodes_.clear();
  std::fill(common_.begin(), common_.end(), at::Tensor());
  taken_ = 0;
}

void ShardTree::take_shard() {
  const c10::NoGradGuard no_grad;
  TORCH_CHECK(taken_ < mine_.size(), "a shard tree: rank ", comm_.rank(), " has ", mine_.size(), " shards, got more");
  const auto shard = mine_.begin + taken_++;
  Node leaf{{shard, shard + 1}, {}};
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor gradient = std::move(parameters_[i].mutable_grad());
    parameters_[i].mutable_grad().reset();
    TORCH_CHECK(!gradient.defined() || !common_[i].defined(), "a shard tree: parameter ", i,
                " has a common gradient and one of a shard");
    if (gradient.defined() && gradient.strides() != parameters_[i].strides())
      gradient = at::empty_like(parameters_[i]).copy_(gradient);
    leaf.gradients.push_back(std::move(gradient));
  }
  nodes_.push_back(std::move(leaf));
  join_halves();
}

void ShardTree::take_common() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    TORCH_CHECK(!common_[i].defined() && taken_ == 0, "a shard tree: common gradients come once, before all shards");
    common_[i] = parameters_[i].grad();
    parameters_[i].mutable_grad().reset();
  }
}

void ShardTree::join_halves() {
  while (nodes_.size() > 1 && are_halves(shards_, nodes_.end()[-2].span, nodes_.back().span)) {
    auto& left = nodes_.end()[-2];
    auto& right = nodes_.back();
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      // One that is missing in a shard stays so: finish() is not reached.
      if (left.gradients[i].defined() && right.gradients[i].defined()) {
        left.gradients[i].add_(right.gradients[i]);
      } else {
        left.gradients[i].reset();
      }
    }
    left.span.end = right.span.end;
    nodes_.pop_back();
  }
}

std::vector<std::size_t> ShardTree::missing() const {
  TORCH_CHECK(taken_ == mine_.size(), "a shard tree: rank ", comm_.rank(), " has ", mine_.size(), " shards, took ",
              taken_);
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    bool all = true;
    for (const auto& node : nodes_) all = all && node.gradients[i].defined();
    if (!all && !common_[i].defined()) indices.push_back(i);
  }
  return indices;
}

void ShardTree::finish() {
  const c10::NoGradGuard no_grad;
  if (comm_.size() > 1) exchange();
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    parameters_[i].mutable_grad() = common_[i].defined() ? common_[i] : nodes_[0].gradients[i];
  clear();
}

/// Leaves the sum over all shards in the first node of this rank, piece by piece: what is overwritten has been sent.
void ShardTree::exchange() {
  auto& result = nodes_[0].gradients;
  std::int64_t elements = 0;
  for (const auto& gradient : result) elements += gradient.defined() ? gradient.numel() : 0;
  for (std::int64_t first = 0; first < elements; first += piece_) {
    const auto count = std::min(piece_, elements - first);
    const at::Tensor gathered = comm_.all_gather(own_piece(first, count));
    std::size_t next = 0;
    const at::Tensor sum = sum_of({0, shards_}, gathered, next);
    each_part(result, first, count, [&](std::size_t i, std::int64_t from, std::int64_t at, std::int64_t size) {
      in_a_row(result[i]).narrow(0, from, size).copy_(sum.narrow(0, at, size));
    });
  }
}

/// [most_nodes, count]: a row a node of this rank, then zeros that nobody reads.
at::Tensor ShardTree::own_piece(std::int64_t first, std::int64_t count) const {
  at::Tensor piece = at::zeros({most_nodes_, count}, parameters_[0].options().requires_grad(false));
  for (std::size_t row = 0; row < nodes_.size(); ++row) {
    const auto& gradients = nodes_[row].gradients;
    const at::Tensor target = piece[static_cast<std::int64_t>(row)];
    each_part(gradients, first, count, [&](std::size_t i, std::int64_t from, std::int64_t at, std::int64_t size) {
      target.narrow(0, at, size).copy_(in_a_row(gradients[i]).narrow(0, from, size));
    });
  }
  return piece;
}

/// The sum of a node, in place of its first row; next: the first row that it has not used yet.
at::Tensor ShardTree::sum_of(ShardSpan node, const at::Tensor& gathered, std::size_t& next) const {
  if (nodes_of_all_[next] == node) return gathered[rows_[next++]];
  at::Tensor left = sum_of(node.left(), gathered, next);
  return left.add_(sum_of(node.right(), gathered, next));
}

}  // namespace triptych

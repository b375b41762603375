// A sum that does not depend on the number of ranks: gradients of a fixed number of shards, added in a fixed binary
// tree.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "distributed/collectives.h"

namespace triptych {

/// Shards [begin, end) of a step. A node of the tree over V shards is [0, V), or a half of a node: [begin, middle) or
/// [middle, end), middle = (begin + end) / 2 rounded down.
struct ShardSpan {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  ShardSpan left() const { return {begin, (begin + end) / 2}; }
  ShardSpan right() const { return {(begin + end) / 2, end}; }
  bool operator==(const ShardSpan&) const = default;
};

/// The fewest nodes of the tree over `shards` that make up `part`, in order: 2 log2 V at most.
std::vector<ShardSpan> covering_nodes(std::int64_t shards, ShardSpan part);

/// Shards of a rank: V / ranks, consecutive. Throws c10::Error where they do not divide.
ShardSpan shards_of_rank(std::int64_t shards, std::int64_t rank, std::int64_t ranks);

/// The most sums that one of `ranks` ranks holds at a time, each as large as all gradients.
std::int64_t most_shard_sums(std::int64_t shards, std::int64_t ranks);

/// The most nodes that one of `ranks` ranks sends.
std::int64_t most_nodes_sent(std::int64_t shards, std::int64_t ranks);

/// The gradient of a step over V shards, each of the same shape on any number of ranks W that divides V. A shard's
/// gradient enters its leaf of the tree; a rank adds what lies in its own shards, the ranks gather each other's nodes
/// and each finishes the tree. Every addition has the same operands whatever W, so every bit is the same. Sums, no
/// means: a shard's gradient is that of its part of the loss of the whole batch.
/// Takes memory for most_shard_sums gradients, log2(V / W) + 1 where V is a power of two, and for what is gathered at a
/// time: `gather_bytes`, and a rank's part of them. Every rank's nodes travel to every other, where an all-reduce in a
/// ring sends each rank two gradients at most.
class ShardTree {
 public:
  static constexpr std::int64_t kGatherBytes = 64 << 20;

  /// Parameters of one type on one device, the same on every rank; they outlive the tree.
  ShardTree(std::int64_t shards, std::vector<at::Tensor> parameters, Collectives& comm,
            std::int64_t gather_bytes = kGatherBytes);

  void clear();  ///< at the start of a step
  /// Moves the gradients that the parameters hold to this rank's next shard.
  void take_shard();
  /// The same for gradients that every rank has computed alike of the whole batch: they count once. These parameters
  /// take no part in shards.
  void take_common();
  /// Indices of parameters without a common gradient that some shard of this rank gave none.
  std::vector<std::size_t> missing() const;
  /// Each parameter's gradient becomes its sum over all shards, or its common one. No gradient may be missing on any
  /// rank. Collective.
  void finish();

 private:
  struct Node {
    ShardSpan span;
    std::vector<at::Tensor> gradients;  ///< by parameter; undefined: none
  };
  void join_halves();
  void exchange();
  at::Tensor own_piece(std::int64_t first, std::int64_t count) const;
  at::Tensor sum_of(ShardSpan node, const at::Tensor& gathered, std::size_t& next) const;

  const std::int64_t shards_;
  const std::vector<at::Tensor> parameters_;
  Collectives& comm_;
  const ShardSpan mine_;
  std::vector<ShardSpan> nodes_of_all_;  ///< that are gathered, in the order of the shards
  std::vector<std::int64_t> rows_;       ///< of nodes_of_all_ in what is gathered
  std::int64_t most_nodes_ = 0;          ///< of a rank
  std::int64_t piece_ = 0;               ///< elements that are gathered at a time
  std::vector<Node> nodes_;              ///< of this rank's shards so far, in order
  std::vector<at::Tensor> common_;
  std::int64_t taken_ = 0;
};

}  // namespace triptych

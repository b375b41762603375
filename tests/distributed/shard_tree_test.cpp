// The tree of shards: against a recursion written plainly, bit by bit on any number of ranks, and against the orders
// that it is not.
#include "distributed/shard_tree.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "distributed/gradient_sync.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using Tensors = std::vector<at::Tensor>;

constexpr int kSharded = 3;  // parameters that get gradients in shards; a fourth gets a common one

at::Tensor shard_draw(std::int64_t shard, std::size_t i, at::IntArrayRef sizes) {
  RandomStream stream(random_key(11, Purpose::kTest, {static_cast<std::uint64_t>(shard), i}));
  at::Tensor values = at::empty(sizes);
  for (std::int64_t n = 0; n < values.numel(); ++n) values.data_ptr<float>()[n] = static_cast<float>(stream.normal());
  return values;
}

at::Tensor gradient_of_shard(std::int64_t shard, std::size_t i) {
  const std::vector<std::vector<std::int64_t>> sizes = {{7, 5}, {3}, {2, 3, 4, 5}, {}};
  return shard_draw(shard, i, sizes[i]);
}

/// The last but one lies in memory as convolutions' weights may: channels last.
Tensors tree_parameters() {
  Tensors parameters;
  for (std::size_t i = 0; i <= kSharded; ++i) parameters.push_back(at::zeros_like(gradient_of_shard(0, i)));
  parameters[2] = parameters[2].contiguous(at::MemoryFormat::ChannelsLast);
  for (auto& parameter : parameters) parameter.requires_grad_();
  return parameters;
}

/// The definition: [begin, end) is the sum of its halves.
at::Tensor plain_tree(std::int64_t begin, std::int64_t end, std::size_t i) {
  if (end - begin == 1) return gradient_of_shard(begin, i);
  const auto middle = (begin + end) / 2;
  return plain_tree(begin, middle, i) + plain_tree(middle, end, i);
}

Tensors sums_by_tree(std::int64_t shards, int ranks, std::int64_t gather_bytes) {
  Tensors result;
  run_ranks(ranks, [&](Collectives& comm) {
    const auto parameters = tree_parameters();
    ShardTree tree(shards, parameters, comm, gather_bytes);
    const auto mine = shards_of_rank(shards, comm.rank(), comm.size());
    for (int step = 0; step < 2; ++step) {
      tree.clear();
      for (const auto& parameter : parameters) parameter.mutable_grad().reset();
      parameters[kSharded].mutable_grad() = gradient_of_shard(1000, kSharded);
      tree.take_common();
      for (auto shard = mine.begin; shard < mine.end; ++shard) {
        for (std::size_t i = 0; i < kSharded; ++i) parameters[i].mutable_grad() = gradient_of_shard(shard, i);
        tree.take_shard();
      }
      EXPECT_TRUE(tree.missing().empty());
      tree.finish();
    }
    for (const auto& parameter : parameters) {
      const auto& sum = parameter.grad();
      EXPECT_EQ(sum.strides(), parameter.strides());
      const auto all = comm.all_gather(sum.contiguous().view({1, -1}));
      for (int r = 0; r < ranks; ++r) EXPECT_TRUE(all[r].equal(all[0]));
      if (comm.rank() == 0) result.push_back(sum.clone());
    }
  });
  return result;
}

TEST(ShardTree, CoversEveryRanksShardsWithWholeNodes) {
  for (std::int64_t shards = 1; shards <= 96; ++shards) {
    for (std::int64_t ranks = 1; ranks <= shards; ++ranks) {
      if (shards % ranks != 0) continue;
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const auto part = shards_of_rank(shards, rank, ranks);
        auto at = part.begin;
        const auto nodes = covering_nodes(shards, part);
        for (const auto& node : nodes) {
          EXPECT_EQ(node.begin, at);
          at = node.end;
          ShardSpan down{0, shards};  // it is a node: the way down from the root ends there
          while (down.size() > node.size()) down = node.begin < down.left().end ? down.left() : down.right();
          EXPECT_EQ(down, node) << shards << " shards";
        }
        EXPECT_EQ(at, part.end);
        EXPECT_LE(static_cast<double>(nodes.size()), std::max(1.0, 2 * std::log2(static_cast<double>(shards))));
      }
    }
  }
  EXPECT_EQ(most_nodes_sent(64, 8), 1);
  EXPECT_EQ(most_shard_sums(64, 8), 4);
  EXPECT_EQ(most_nodes_sent(24, 3), 4);
}

TEST(ShardTree, GivesTheBitsOfTheDefinitionOnAnyNumberOfRanks) {
  for (const std::int64_t shards : {1, 5, 8, 24}) {
    for (int ranks = 1; ranks <= shards; ++ranks) {
      if (shards % ranks != 0) continue;
      for (const std::int64_t gather_bytes : {std::int64_t{400}, std::int64_t{5000}, ShardTree::kGatherBytes}) {
        const auto sums = sums_by_tree(shards, ranks, gather_bytes);
        for (std::size_t i = 0; i < kSharded; ++i)
          EXPECT_TRUE(sums[i].equal(plain_tree(0, shards, i))) << shards << " shards, " << ranks << " ranks, " << i;
        EXPECT_TRUE(sums[kSharded].equal(gradient_of_shard(1000, kSharded))) << "counts once, undivided";
      }
    }
  }
}

/// What the tree is not: each rank adds its shards one after the other, then ranks are added in their order.
at::Tensor in_rank_order(std::int64_t shards, std::int64_t ranks, std::size_t i) {
  at::Tensor total;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    const auto mine = shards_of_rank(shards, rank, ranks);
    at::Tensor sum = gradient_of_shard(mine.begin, i);
    for (auto shard = mine.begin + 1; shard < mine.end; ++shard) sum = sum + gradient_of_shard(shard, i);
    total = total.defined() ? total + sum : sum;
  }
  return total;
}

TEST(ShardTree, ControlAnAllReduceOrATreeOverRanksWouldDiffer) {
  EXPECT_FALSE(in_rank_order(24, 1, 0).equal(in_rank_order(24, 3, 0)));
  EXPECT_FALSE(in_rank_order(24, 2, 0).equal(in_rank_order(24, 4, 0)));
  for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
    EXPECT_FALSE(in_rank_order(24, ranks, 0).equal(plain_tree(0, 24, 0)));
    EXPECT_TRUE(at::allclose(in_rank_order(24, ranks, 0), plain_tree(0, 24, 0), 1e-5, 1e-5));
  }
  // A tree, but over ranks: (0 + 1) + 2 of three is not (0 + 1) + (2 + 3) of four.
  const auto rank_sum = [](std::int64_t rank, std::int64_t ranks) {
    const auto mine = shards_of_rank(24, rank, ranks);
    return plain_tree(mine.begin, mine.end, 0);
  };
  const auto three = (rank_sum(0, 3) + rank_sum(1, 3)) + rank_sum(2, 3);
  const auto four = (rank_sum(0, 4) + rank_sum(1, 4)) + (rank_sum(2, 4) + rank_sum(3, 4));
  EXPECT_FALSE(three.equal(four));
}

TEST(ShardTree, RefusesWhatDoesNotDivideAndShardsThatAreMissingOrTooMany) {
  EXPECT_THROW(shards_of_rank(24, 0, 5), c10::Error);
  run_ranks(2, [](Collectives& comm) {
    const auto parameters = tree_parameters();
    ShardTree tree(4, parameters, comm);
    const auto take = [&] {
      for (std::size_t i = 0; i <= kSharded; ++i) parameters[i].mutable_grad() = gradient_of_shard(0, i);
      tree.take_shard();
    };
    take();
    EXPECT_THROW(tree.missing(), c10::Error);
    take();
    EXPECT_TRUE(tree.missing().empty());
    EXPECT_THROW(take(), c10::Error);
  });
}

TEST(ShardTree, AGradientThatOneShardLacksIsNamedOnAllRanks) {
  for (const int ranks : {1, 2, 4}) {
    std::mutex mutex;
    std::vector<std::string> errors;
    run_ranks(ranks, [&](Collectives& comm) {
      const auto parameters = tree_parameters();
      GradientSync sync(SyncForm::kShardTree, {"a", "b", "c", "d"}, parameters, comm, {.shards = 4});
      sync.zero_grad();
      sync.before_forward();
      const auto mine = shards_of_rank(4, comm.rank(), ranks);
      for (auto shard = mine.begin; shard < mine.end; ++shard) {
        for (std::size_t i = 0; i <= kSharded; ++i)
          if (shard != 2 || i != 1) parameters[i].mutable_grad() = gradient_of_shard(shard, i);
        sync.end_shard();
      }
      try {
        sync.finish();
      } catch (const Error& error) {
        EXPECT_TRUE(error.agreed());
        const std::lock_guard lock(mutex);
        errors.emplace_back(error.what());
      }
      comm.barrier();
    });
    ASSERT_EQ(errors.size(), static_cast<std::size_t>(ranks));
    for (const auto& error : errors)
      EXPECT_THAT(error, testing::HasSubstr("no gradient for [rank " + std::to_string(ranks / 2) + "] b;"));
  }
}

}  // namespace
}  // namespace triptych

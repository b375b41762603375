// Joining rows of ranks that hold different numbers of them.
#include "core/eval/gather_rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

TEST(RankBlocks, CoverEveryBlockOnceInOrder) {
  for (const int size : {1, 2, 3, 7}) {
    for (const std::int64_t records : {0, 1, 4, 5, 29}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const auto range = rank_blocks(records, 4, rank, size);
        EXPECT_EQ(range.first, next);
        next = range.last;
      }
      EXPECT_EQ(next, (records + 3) / 4) << records << " records, " << size << " ranks";
    }
  }
}

TEST(GatherRows, KeepsRankOrderAndDropsPadding) {
  run_ranks(3, [](Collectives& comm) {
    // Rank 0 holds rows 0 1 2 in two pieces, rank 1 none, rank 2 row 3.
    std::vector<at::Tensor> pieces;
    const auto all = at::arange(8, at::kFloat).view({4, 2}) + 1;
    if (comm.rank() == 0) pieces = {all.slice(0, 0, 1), all.slice(0, 1, 3)};
    if (comm.rank() == 2) pieces = {all.slice(0, 3, 4)};
    EXPECT_TRUE(at::equal(gather_rows(pieces, at::kCPU, comm), all));
  });
}

TEST(GatherRows, OneDimensionalAndEmpty) {
  run_ranks(2, [](Collectives& comm) {
    std::vector<at::Tensor> pieces;
    if (comm.rank() == 1) pieces = {at::tensor({5, 6}, at::kLong)};
    EXPECT_TRUE(at::equal(gather_rows(pieces, at::kCPU, comm), at::tensor({5, 6}, at::kLong)));
    EXPECT_FALSE(gather_rows({}, at::kCPU, comm).defined());
  });
}

}  // namespace
}  // namespace triptych

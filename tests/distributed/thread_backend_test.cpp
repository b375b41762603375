// How a group of threads behaves when its ranks do not: nobody hangs, the first cause is the one that is reported.
#include "distributed/thread_backend.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>

#include "core/base/errors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using std::chrono::milliseconds;

template <class Body>
std::string error_of(int ranks, Body&& body, milliseconds timeout = std::chrono::seconds(60)) {
  try {
    run_ranks(ranks, body, timeout);
  } catch (const std::exception& e) {
    return e.what();
  }
  return "no error";
}

TEST(ThreadBackend, SumsInRankOrderWithOneRounding) {
  // In fp32, (1e8 + -1e8) + 1 = 1, and 1e8 + (-1e8 + 1) = 0.
  run_ranks(3, [](Collectives& comm) {
    auto x = at::full({1}, std::vector<float>{1e8f, -1e8f, 1.0f}[comm.rank()]);
    comm.all_reduce_sum(x);
    EXPECT_EQ(x.item<float>(), 1.0f);
    // 256 + 1 + 1 in bf16, rounded at every addition, would stay at 256.
    auto narrow = at::full({1}, comm.rank() == 0 ? 256.0f : 1.0f, at::kBFloat16);
    comm.all_reduce_sum(narrow);
    EXPECT_EQ(narrow.item<float>(), 258.0f);
  });
}

TEST(ThreadBackend, ARankThatThrowsFreesTheOthers) {
  std::atomic<int> lost_peer{0};
  const auto error = error_of(3, [&](Collectives& comm) {
    comm.barrier();
    if (comm.rank() == 1) throw std::runtime_error("bad batch");
    try {
      comm.barrier();
    } catch (const PeerError&) {
      ++lost_peer;
      throw;
    }
  });
  EXPECT_EQ(error, "bad batch");
  EXPECT_EQ(lost_peer, 2);
}

TEST(ThreadBackend, ARankThatReturnsEarlyFreesTheOthers) {
  const auto error = error_of(2, [](Collectives& comm) {
    if (comm.rank() == 0) comm.barrier();
  });
  EXPECT_EQ(error, "rank 1 has finished");
}

TEST(ThreadBackend, DifferentCollectivesAreNamed) {
  const auto operation = error_of(2, [](Collectives& comm) {
    auto x = at::ones({16});
    comm.rank() == 0 ? comm.all_reduce_sum(x) : comm.barrier();
  });
  EXPECT_EQ(operation, "the ranks run different collectives: rank 0 ALLREDUCE (sum) of 16 Float, rank 1 BARRIER");
  const auto length = error_of(2, [](Collectives& comm) { comm.all_gather(at::ones({4 + comm.rank()})); });
  EXPECT_EQ(
      length,
      "the ranks run different collectives: rank 0 _ALLGATHER_BASE of 4 Float, rank 1 _ALLGATHER_BASE of 5 Float");
  const auto root = error_of(2, [](Collectives& comm) {
    auto x = at::ones({1});
    comm.broadcast(x, comm.rank());
  });
  EXPECT_NE(root.find("from rank 1"), std::string::npos) << root;
}

TEST(ThreadBackend, TimeoutNamesWhoDidNotCome) {
  const auto start = std::chrono::steady_clock::now();
  ThreadGroup group(3, milliseconds(50));
  std::thread other([&] { EXPECT_THROW(group.comm(2).barrier(), PeerError); });
  std::string error;
  try {
    group.comm(0).barrier();
  } catch (const PeerError& e) {
    error = e.what();
  }
  other.join();
  EXPECT_EQ(error, "BARRIER timed out after 50 ms: rank 1 did not come");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_THROW(group.comm(1).barrier(), PeerError);  // too late: the group is broken
}

TEST(ThreadBackend, PassingOnIsComparedAndTimedAsTheOthers) {
  const auto length = error_of(3, [](Collectives& comm) { comm.pass_on(at::ones({comm.rank() == 2 ? 5 : 4})); });
  EXPECT_EQ(length,
            "the ranks run different collectives: rank 0 ALLTOALL_BASE of 4 Float, rank 2 ALLTOALL_BASE of 5 Float");
  ThreadGroup group(2, milliseconds(50));
  try {
    group.comm(0).pass_on(at::ones({4}));
    ADD_FAILURE() << "no error";
  } catch (const PeerError& e) {
    EXPECT_STREQ(e.what(), "ALLTOALL_BASE of 4 Float timed out after 50 ms: rank 1 did not come");
  }
}

TEST(ThreadBackend, ManyRoundsKeepTheirOrder) {
  run_ranks(4, [](Collectives& comm) {
    for (std::int64_t i = 0; i < 2000; ++i) ASSERT_EQ(comm.sum(i * (comm.rank() + 1)), 10 * i);
  });
}

}  // namespace
}  // namespace triptych

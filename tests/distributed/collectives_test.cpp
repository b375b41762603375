// Collectives on N threads against closed forms in rank and size.
#include "distributed/collectives.h"

#include "tests/support/collective_cases.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

constexpr int kSizes[] = {1, 2, 3, 4};

TEST(Collectives, VectorsOfEveryDtype) {
  for (const int n : kSizes) {
    run_ranks(n, [&](Collectives& comm) {
      for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf, at::kLong, at::kInt, at::kByte}) {
        for (const std::int64_t length : {0, 1, 2, 7, 1000}) check_collectives(comm, length, dtype);
      }
    });
  }
}

TEST(Collectives, Shapes) {
  for (const int n : kSizes) run_ranks(n, [](Collectives& comm) { check_shapes(comm); });
}

TEST(Collectives, HostCalls) {
  for (const int n : kSizes) run_ranks(n, [](Collectives& comm) { check_host_calls(comm); });
}

TEST(Collectives, ResultsHaveNoGraph) {
  run_ranks(2, [](Collectives& comm) {
    const auto x = at::ones({2, 2}).requires_grad_();
    EXPECT_FALSE(comm.all_gather(x).requires_grad());
    EXPECT_FALSE(comm.reduce_scatter_sum(x).requires_grad());
    EXPECT_FALSE(comm.pass_on(x).requires_grad());
    auto in_place = at::ones({2}).requires_grad_();
    comm.all_reduce_sum(in_place);  // no autograd error although a leaf changes in place
    EXPECT_EQ(in_place.sum().item<float>(), 4);
  });
}

TEST(Collectives, RowsMustDivide) {
  run_ranks(2, [](Collectives& comm) { EXPECT_THROW(comm.reduce_scatter_sum(at::ones({3})), c10::Error); });
}

}  // namespace
}  // namespace triptych

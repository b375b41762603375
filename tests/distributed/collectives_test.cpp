// Collectives on N threads against closed forms in rank and size.
#include "distributed/collectives.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

constexpr int kSizes[] = {1, 2, 3, 4};

TEST(Collectives, SumIsTheClosedForm) {
  for (const int n : kSizes) {
    run_ranks(n, [&](Collectives& comm) {
      for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kLong, at::kByte}) {
        for (const std::int64_t length : {0, 1, 2, 7, 1000}) {
          const auto base = at::arange(length, at::kLong).remainder(8);
          auto x = (base + comm.rank()).to(dtype);
          comm.all_reduce_sum(x);
          const auto expected = (base * n + n * (n - 1) / 2).to(dtype);
          EXPECT_TRUE(x.equal(expected)) << n << " ranks, " << dtype << ", " << length;
        }
      }
    });
  }
}

}  // namespace
}  // namespace triptych

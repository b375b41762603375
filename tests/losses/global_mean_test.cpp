// Means over counts that ranks do not share.
#include "losses/global_mean.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

/// Rank r holds `counts[r]` numbers; returns the mean over ranks of the results and the rows' gradients over size.
struct Outcome {
  double mean = 0;
  at::Tensor grads;
};

Outcome mean_of(const std::vector<std::int64_t>& counts, const at::Tensor& values, MeanOver over) {
  const int size = static_cast<int>(counts.size());
  std::vector<at::Tensor> results(counts.size()), grads(counts.size());
  run_ranks(size, [&](Collectives& comm) {
    const auto rank = static_cast<std::size_t>(comm.rank());
    std::int64_t first = 0;
    for (std::size_t i = 0; i < rank; ++i) first += counts[i];
    const at::Tensor own = leaf(values.narrow(0, first, counts[rank]));
    const at::Tensor result = global_mean(own.square().sum(), counts[rank], comm, over);
    result.backward();
    results[rank] = result.detach();
    grads[rank] = own.grad();
  });
  return {at::stack(results).mean().item<double>(), at::cat(grads) / size};
}

TEST(GlobalMean, IsTheMeanOverAllItems) {
  for (const auto& counts : std::vector<std::vector<std::int64_t>>{{5}, {4, 1}, {0, 3, 2}, {1, 0, 0, 4}}) {
    const at::Tensor values = draw({1}, {5});
    const Outcome outcome = mean_of(counts, values, MeanOver::kGlobal);
    EXPECT_NEAR(outcome.mean, values.square().mean().item<double>(), 1e-12);
    EXPECT_LT(difference(outcome.grads, 2 * values / 5), 1e-12);
  }
}

TEST(GlobalMean, RankMeansWeighRanksAlike) {
  const at::Tensor values = draw({2}, {5});
  const double expected = (values.narrow(0, 0, 4).square().mean() + values[4].square()).item<double>() / 2;
  EXPECT_NEAR(mean_of({4, 1}, values, MeanOver::kRank).mean, expected, 1e-12);
  EXPECT_NE(mean_of({4, 1}, values, MeanOver::kGlobal).mean, expected);
}

TEST(GlobalMean, NothingAnywhereIsZeroWithZeroGradient) {
  run_ranks(2, [](Collectives& comm) {
    for (const auto over : {MeanOver::kGlobal, MeanOver::kRank}) {
      const at::Tensor weight = leaf(at::ones({3}, at::kDouble));
      const at::Tensor result = global_mean((weight * at::zeros({3}, at::kDouble)).sum(), 0, comm, over);
      result.backward();
      EXPECT_EQ(result.item<double>(), 0);
      EXPECT_EQ(weight.grad().abs().max().item<double>(), 0);
    }
  });
}

}  // namespace
}  // namespace triptych

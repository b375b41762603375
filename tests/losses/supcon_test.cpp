// SupCon against the plain double sum, on 1 to 4 ranks.
#include "losses/supcon.h"

#include <gtest/gtest.h>

#include "tests/losses/plain_formulas.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

TEST(SupCon, PlainFormulaOnOneToFourRanks) {
  const at::Tensor labels = at::tensor({0, 1, 1, 0, 3, -1, 0, 3, 2, 1, -1, 0}, at::kLong);
  for (const std::int64_t views : {2, 3}) {
    const at::Tensor view_Bvd = leaf(unit(draw({1, static_cast<std::uint64_t>(views)}, {12, views, 5})));
    const at::Tensor expected = plain_supcon(view_Bvd, labels, 0.3);
    expected.backward();
    for (const int size : {1, 2, 3, 4}) {
      std::vector<at::Tensor> losses(size), grads(size);
      run_ranks(size, [&](Collectives& comm) {
        const std::int64_t b = 12 / size;
        const at::Tensor own = leaf(view_Bvd.narrow(0, comm.rank() * b, b));
        const LossOutput output = supcon_loss(own, labels.narrow(0, comm.rank() * b, b), 0.3, comm);
        output.total.backward();
        losses[static_cast<std::size_t>(comm.rank())] = output.total.detach();
        grads[static_cast<std::size_t>(comm.rank())] = own.grad();
      });
      EXPECT_LT(difference(at::stack(losses).mean(), expected), 1e-12) << size;
      EXPECT_LT(difference(at::cat(grads) / size, view_Bvd.grad()), 1e-12) << size;
    }
  }
}

TEST(SupCon, NeedsTwoViews) {
  run_ranks(1, [](Collectives& comm) {
    EXPECT_THROW(supcon_loss(unit(draw({1}, {4, 1, 3})), at::zeros({4}, at::kLong), 0.1, comm), c10::Error);
  });
}

}  // namespace
}  // namespace triptych

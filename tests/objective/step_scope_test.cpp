// Draws and the order of backward calls.
#include "core/objective/step_scope.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

at::Tensor some(const StepScope& scope, Purpose purpose, std::int64_t first_position) {
  return at::empty({4}).uniform_(0, 1, scope.draws(purpose, first_position, at::kCPU));
}

TEST(StepScope, DrawsAreAFunctionOfSeedStepPurposeAndPosition) {
  run_ranks(2, [](Collectives& comm) {
    const StepScope scope({.step = 4}, 1, {}, comm, nullptr), next({.step = 5}, 1, {}, comm, nullptr),
        other({.step = 4}, 2, {}, comm, nullptr);
    const at::Tensor drawn = some(scope, Purpose::kDropPath, 64);
    EXPECT_TRUE(at::equal(drawn, some(scope, Purpose::kDropPath, 64)));
    EXPECT_TRUE(at::equal(drawn, comm.all_gather(drawn).narrow(0, 0, 4)));  // the same on every rank
    EXPECT_FALSE(at::equal(drawn, some(scope, Purpose::kDropout, 64)));
    EXPECT_FALSE(at::equal(drawn, some(scope, Purpose::kDropPath, 65)));
    EXPECT_FALSE(at::equal(drawn, some(next, Purpose::kDropPath, 64)));
    EXPECT_FALSE(at::equal(drawn, some(other, Purpose::kDropPath, 64)));
  });
}

TEST(StepScope, BackwardTakesLeavesAndRefusesToGoOnAfterTheLast) {
  run_ranks(1, [](Collectives& comm) {
    StepScope scope({}, 1, {}, comm, nullptr);
    const at::Tensor x = leaf(draw({1}, {3})), y = leaf(draw({2}, {}));
    scope.backward({x * 2}, {at::ones({3}, at::kDouble)}, Last::kNo);
    scope.backward({x * 3, y}, {at::ones({3}, at::kDouble), at::scalar_tensor(7.0, at::kDouble)}, Last::kYes);
    EXPECT_LT(difference(x.grad(), at::full({3}, 5.0, at::kDouble)), 1e-15);
    EXPECT_EQ(y.grad().item<double>(), 7);
    EXPECT_THROW(scope.backward({x * 2}, {at::ones({3}, at::kDouble)}, Last::kNo), std::logic_error);
  });
}

}  // namespace
}  // namespace triptych

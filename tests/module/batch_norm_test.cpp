// Batch norm over ranks against the whole batch; running averages once a step.
#include "core/module/batch_norm.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

std::map<std::string, at::Tensor> state_of(const Module& module) {
  std::map<std::string, at::Tensor> state;
  for (const auto& list : {module.parameters(), module.buffers()})
    for (const auto& [name, tensor] : list) state[name] = tensor;
  return state;
}

/// weight and bias that are not 1 and 0, in fp64.
void fill(BatchNorm& norm) {
  norm.to(at::kCPU, at::kDouble);
  const c10::NoGradGuard no_grad;
  auto state = state_of(norm);
  state["weight"].copy_(draw({7}, state["weight"].sizes()));
  state["bias"].copy_(draw({8}, state["bias"].sizes()));
}

at::Tensor plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const auto [variance, mean] = at::var_mean(x, {0, 2, 3}, 0, true);
  return (x - mean) / (variance + 1e-5).sqrt() * weight.view({1, -1, 1, 1}) + bias.view({1, -1, 1, 1});
}

TEST(BatchNorm, OfAnyNumberOfRanksIsThatOfTheWholeBatch) {
  const at::Tensor x_B = draw({1}, {12, 5, 3, 2}) * 3 + 100, out_weight = draw({2}, x_B.sizes());
  for (const int size : {1, 2, 3, 4}) {
    BatchNorm whole(5, /*frozen=*/false);
    fill(whole);
    auto expected_state = state_of(whole);
    const at::Tensor x = leaf(x_B);
    const at::Tensor expected = plain(x, expected_state["weight"], expected_state["bias"]);
    (expected * out_weight).sum().backward();

    std::vector<at::Tensor> out(size), x_grad(size), weight_grad(size), mean(size), variance(size);
    run_ranks(size, [&](Collectives& comm) {
      const auto rank = static_cast<std::size_t>(comm.rank());
      const std::int64_t b = 12 / size, first = comm.rank() * b;
      BatchNorm norm(5, false);
      fill(norm);
      ForwardScope scope;
      scope.ranks = size;
      if (size > 1) scope.sum_over_ranks = [&](at::Tensor& t) { comm.all_reduce_sum(t); };
      const at::Tensor own = leaf(x_B.narrow(0, first, b));
      const at::Tensor y = norm.forward(own, scope);
      (y * out_weight.narrow(0, first, b)).sum().backward();
      norm.end_step(true);
      auto state = state_of(norm);
      out[rank] = y.detach();
      x_grad[rank] = own.grad();
      weight_grad[rank] = state["weight"].grad();
      mean[rank] = state["running_mean"];
      variance[rank] = state["running_var"];
    });
    EXPECT_LT(difference(at::cat(out), expected), 1e-10) << size;
    EXPECT_LT(difference(at::cat(x_grad), x.grad()), 1e-10) << size;
    EXPECT_LT(difference(at::stack(weight_grad).sum(0), expected_state["weight"].grad()), 1e-10) << size;
    const at::Tensor unbiased = x_B.var({0, 2, 3}, true);
    for (int rank = 0; rank < size; ++rank) {
      EXPECT_LT(difference(mean[rank], x_B.mean({0, 2, 3}) * 0.1), 1e-10) << size;
      EXPECT_LT(difference(variance[rank], unbiased * 0.1 + 0.9), 1e-10) << size;
    }
  }
}

TEST(BatchNorm, WithoutTheSumOverRanksTheRanksDiffer) {  // negative control
  const at::Tensor x_B = draw({1}, {4, 5, 3, 2});
  BatchNorm norm(5, false);
  fill(norm);
  const at::Tensor halves = at::cat({norm.forward(x_B.narrow(0, 0, 2), {}), norm.forward(x_B.narrow(0, 2, 2), {})});
  EXPECT_GT(difference(halves, norm.forward(x_B, {})), 1e-2);
}

TEST(BatchNorm, RunningAveragesMoveOnceAStep) {
  const at::Tensor first = draw({1}, {4, 5, 3, 2}), second = draw({2}, {4, 5, 3, 2});
  BatchNorm norm(5, false);
  fill(norm);
  auto state = state_of(norm);
  {
    const c10::NoGradGuard no_grad;  // the first pass of gradient caching
    norm.forward(first, {});
  }
  norm.forward(first, {});
  norm.forward(second, {});
  EXPECT_EQ(state["running_mean"].abs().max().item<double>(), 0);
  norm.end_step(true);
  const at::Tensor mean = (first.mean({0, 2, 3}) + second.mean({0, 2, 3})) / 2;
  EXPECT_LT(difference(state["running_mean"], mean * 0.1), 1e-12);
  EXPECT_EQ(state["num_batches_tracked"].item<std::int64_t>(), 1);

  norm.forward(first, {});
  norm.end_step(false);  // refused: nothing moves, and nothing is left for the next step
  norm.end_step(true);
  EXPECT_LT(difference(state["running_mean"], mean * 0.1), 1e-12);
  norm.set_training(false);
  norm.forward(first, {});
  norm.end_step(true);
  EXPECT_EQ(state["num_batches_tracked"].item<std::int64_t>(), 1);
}

TEST(BatchNorm, OfAFrozenTowerDoesNotMove) {
  BatchNorm norm(5, /*frozen=*/false);
  fill(norm);
  norm.requires_grad(false);
  auto state = state_of(norm);
  const at::Tensor x = draw({1}, {4, 5, 3, 2});
  const at::Tensor trained = norm.forward(x, {});
  norm.end_step(true);
  EXPECT_EQ(state["running_mean"].abs().max().item<double>(), 0);
  norm.set_training(false);
  EXPECT_TRUE(at::equal(trained, norm.forward(x, {})));
}

TEST(BatchNorm, FrozenUsesItsRunningAverages) {
  BatchNorm norm(5, /*frozen=*/true);
  fill(norm);
  auto state = state_of(norm);
  const at::Tensor x = draw({1}, {4, 5, 3, 2});
  const at::Tensor trained = norm.forward(x, {});
  norm.end_step(true);
  EXPECT_EQ(state["running_mean"].abs().max().item<double>(), 0);
  norm.set_training(false);
  EXPECT_TRUE(at::equal(trained, norm.forward(x, {})));
  EXPECT_TRUE(trained.requires_grad());
}

}  // namespace
}  // namespace triptych

// The gather's gradient on N ranks against the formula written plainly on the whole batch, with controls that must
// fail.
#include "distributed/gather_with_grad.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/random_key.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

constexpr std::int64_t kBatch = 12, kInputs = 5, kWidth = 4;

at::Tensor random_tensor(std::uint64_t which, at::IntArrayRef sizes) {
  RandomStream stream(random_key(1, Purpose::kTest, {which}));
  auto values = at::empty(sizes, at::kDouble);
  for (std::int64_t i = 0; i < values.numel(); ++i) values.data_ptr<double>()[i] = stream.normal();
  return values;
}

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  return -at::log_softmax(logits, 1).gather(1, targets.unsqueeze(1)).mean();
}

struct Result {
  at::Tensor loss, weight_grad, scale_grad;
};

/// Symmetric contrastive loss of x W against the given texts, on the whole batch in one piece.
Result whole_batch() {
  auto weight = random_tensor(1, {kInputs, kWidth}).requires_grad_();
  auto scale = at::full({}, 0.7, at::kDouble).requires_grad_();
  const auto image = random_tensor(2, {kBatch, kInputs}).mm(weight),
             text = random_tensor(3, {kBatch, kInputs}).mm(weight);
  const auto logits = scale * image.mm(text.t()), own = at::arange(kBatch);
  const auto loss = (cross_entropy(logits, own) + cross_entropy(logits.t(), own)) / 2;
  loss.backward();
  return {loss.detach(), weight.grad(), scale.grad()};
}

using Gather = std::function<at::Tensor(const at::Tensor&, Collectives&)>;

/// The same over ranks: mean over local rows on each rank, gradients averaged over ranks. `offset` = 0 breaks the
/// targets.
Result on_ranks(int n, const Gather& gather, int offset = 1) {
  Result result;
  std::vector<at::Tensor> image_grads(n);
  run_ranks(n, [&](Collectives& comm) {
    const std::int64_t b = kBatch / n, first = b * comm.rank();
    auto weight = random_tensor(1, {kInputs, kWidth}).requires_grad_();
    auto scale = at::full({}, 0.7, at::kDouble).requires_grad_();
    const auto image_bd = random_tensor(2, {kBatch, kInputs}).narrow(0, first, b).mm(weight);
    const auto text_bd = random_tensor(3, {kBatch, kInputs}).narrow(0, first, b).mm(weight);
    const auto image_Bd = gather(image_bd, comm), text_Bd = gather(text_bd, comm);
    const auto own = at::arange(b) + offset * first;
    const auto loss =
        (cross_entropy(scale * image_bd.mm(text_Bd.t()), own) + cross_entropy(scale * text_bd.mm(image_Bd.t()), own)) /
        2;
    loss.backward();
    Result mine{loss.detach().clone(), weight.grad(), scale.grad()};
    for (auto* t : {&mine.loss, &mine.weight_grad, &mine.scale_grad}) {
      comm.all_reduce_sum(*t);
      t->div_(n);
    }
    if (comm.rank() == 0) result = mine;
  });
  return result;
}

bool close(const at::Tensor& a, const at::Tensor& b) {
  return at::allclose(a, b, 1e-10, 1e-12);
}

TEST(GatherWithGrad, EqualsTheWholeBatch) {
  const auto expected = whole_batch();
  for (const int n : {1, 2, 3, 4}) {
    const auto got = on_ranks(n, all_gather_with_grad);
    EXPECT_TRUE(close(got.loss, expected.loss)) << n << " ranks";
    EXPECT_TRUE(close(got.weight_grad, expected.weight_grad)) << n << " ranks";
    EXPECT_TRUE(close(got.scale_grad, expected.scale_grad)) << n << " ranks";
  }
}

struct TimesSize : torch::autograd::Function<TimesSize> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, std::int64_t size) {
    context->saved_data["size"] = size;
    return x.view_as(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list g) {
    return {g[0] * context->saved_data["size"].toInt(), at::Tensor()};
  }
};

TEST(GatherWithGrad, WrongGathersDoNotPass) {
  const auto expected = whole_batch();
  for (const int n : {2, 3, 4}) {
    const auto scaled = on_ranks(n, [](const at::Tensor& x, Collectives& comm) {
      return TimesSize::apply(all_gather_with_grad(x, comm), comm.size());
    });
    EXPECT_TRUE(close(scaled.loss, expected.loss));
    EXPECT_FALSE(close(scaled.weight_grad, expected.weight_grad));
    const auto dropped = on_ranks(n, [](const at::Tensor& x, Collectives& comm) { return comm.all_gather(x); });
    EXPECT_TRUE(close(dropped.loss, expected.loss));
    EXPECT_FALSE(close(dropped.weight_grad, expected.weight_grad));
    const auto misplaced = on_ranks(n, all_gather_with_grad, /*offset=*/0);
    EXPECT_FALSE(close(misplaced.loss, expected.loss));
  }
}

/// d(sum over ranks of f_r(gathered)) / d(rank 1's rows) by central differences.
TEST(GatherWithGrad, FiniteDifferences) {
  constexpr int kRanks = 3;
  const auto rows = random_tensor(4, {kRanks * 2, 3});
  const auto f = [](const at::Tensor& all, int rank) { return (all * (rank + 1)).sin().prod(1).sum(); };
  at::Tensor analytic;
  run_ranks(kRanks, [&](Collectives& comm) {
    auto mine = rows.narrow(0, 2 * comm.rank(), 2).clone().requires_grad_();
    f(all_gather_with_grad(mine, comm), comm.rank()).backward();
    if (comm.rank() == 1) analytic = mine.grad();
  });
  for (std::int64_t i = 0; i < 6; ++i) {
    const double h = 1e-5;
    double difference = 0;
    for (const double sign : {1.0, -1.0}) {
      auto moved = rows.clone();
      moved.view({-1})[6 + i] += sign * h;
      for (int r = 0; r < kRanks; ++r) difference += sign * f(moved, r).item<double>() / (2 * h);
    }
    EXPECT_NEAR(analytic.view({-1})[i].item<double>(), difference, 1e-8) << i;
  }
}

TEST(GatherWithGrad, ScalarsAndGapsAndEmptyRows) {
  run_ranks(3, [](Collectives& comm) {
    auto scalar = at::full({}, 2.0).requires_grad_();
    const auto all = all_gather_with_grad(scalar, comm);
    ASSERT_EQ(all.sizes(), at::IntArrayRef({3}));
    (all * at::arange(3)).sum().backward();
    EXPECT_EQ(scalar.grad().item<float>(), 3.0f * comm.rank());  // every rank weighs row r with r
    auto wide = at::ones({3, 2}).requires_grad_();
    all_gather_with_grad(wide.t(), comm).sum().backward();
    EXPECT_TRUE(wide.grad().equal(at::full({3, 2}, 3.0)));
    auto none = at::ones({0, 2}).requires_grad_();
    all_gather_with_grad(none, comm).sum().backward();
    EXPECT_EQ(none.grad().sizes(), at::IntArrayRef({0, 2}));
  });
}

}  // namespace
}  // namespace triptych

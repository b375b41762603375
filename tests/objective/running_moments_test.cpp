// Moments against a weighted average in plain loops.
#include "core/objective/running_moments.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "core/module/meta_kernels.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

struct PlainMoments {
  double mean, deviation;
};

/// Every value weighs decay to the power of the updates after it.
PlainMoments plain_moments(const std::vector<at::Tensor>& updates, double decay) {
  double weight = 0, sum = 0, squares = 0;
  for (std::size_t u = 0; u < updates.size(); ++u) {
    const double share = std::pow(decay, static_cast<double>(updates.size() - 1 - u));
    for (std::int64_t i = 0; i < updates[u].numel(); ++i) {
      weight += share;
      sum += share * updates[u][i].item<double>();
    }
  }
  const double mean = sum / weight;
  for (std::size_t u = 0; u < updates.size(); ++u) {
    const double share = std::pow(decay, static_cast<double>(updates.size() - 1 - u));
    for (std::int64_t i = 0; i < updates[u].numel(); ++i)
      squares += share * std::pow(updates[u][i].item<double>() - mean, 2);
  }
  return {mean, std::sqrt(squares / weight)};
}

at::Tensor interactions(std::uint64_t key, std::int64_t count) {
  return draw({80, key}, {count}) * (0.01 + 0.002 * static_cast<double>(key)) + 0.05;
}

RunningMoments moments_of(const std::vector<at::Tensor>& updates, double decay) {
  RunningMoments moments(decay, at::kCPU);
  for (const auto& values : updates) moments.update(RunningMoments::sums(values));
  return moments;
}

TEST(RunningMoments, AreTheDiscountedMeanAndDeviation) {
  std::vector<at::Tensor> updates;
  for (std::uint64_t u = 0; u < 6; ++u) {
    updates.push_back(interactions(u, 3 + static_cast<std::int64_t>(u * 5 % 7)));
    for (const double decay : {0.0, 0.5, 0.99}) {
      const RunningMoments moments = moments_of(updates, decay);
      const PlainMoments expected = plain_moments(updates, decay);
      EXPECT_NEAR(moments.mean().item<double>(), expected.mean, 1e-15) << u << " " << decay;
      EXPECT_NEAR(moments.deviation().item<double>(), expected.deviation, 1e-14) << u << " " << decay;
    }
  }
  // The control: another decay is another average.
  EXPECT_GT(std::abs(moments_of(updates, 0.5).deviation().item<double>() - plain_moments(updates, 0.99).deviation),
            1e-5);
}

/// No value is drawn towards the 0 at which the sums start.
TEST(RunningMoments, FirstUpdateIsWholeWhateverTheDecay) {
  const at::Tensor values = interactions(1, 9);
  const RunningMoments moments = moments_of({values}, 0.999);
  EXPECT_NEAR(moments.mean().item<double>(), values.mean().item<double>(), 1e-16);
  EXPECT_NEAR(moments.deviation().item<double>(), values.std(/*unbiased=*/false).item<double>(), 1e-15);
}

TEST(RunningMoments, SumsOfRanksAddUp) {
  const at::Tensor all = interactions(2, 10);
  RunningMoments moments(0.9, at::kCPU);
  moments.update(RunningMoments::sums(all.narrow(0, 0, 3)) + RunningMoments::sums(all.narrow(0, 3, 0)) +
                 RunningMoments::sums(all.narrow(0, 3, 7).view({7, 1})));
  const RunningMoments whole = moments_of({all}, 0.9);
  EXPECT_NEAR(moments.mean().item<double>(), whole.mean().item<double>(), 1e-16);
  EXPECT_NEAR(moments.deviation().item<double>(), whole.deviation().item<double>(), 1e-15);
}

TEST(RunningMoments, NothingAndNotFiniteChangeNothing) {
  RunningMoments moments = moments_of({interactions(3, 5), interactions(4, 5)}, 0.5);
  const at::Tensor mean = moments.mean().clone(), deviation = moments.deviation().clone();
  moments.update(RunningMoments::sums(at::zeros({0}, at::kDouble)));
  moments.update(RunningMoments::sums(at::tensor({1., std::numeric_limits<double>::quiet_NaN()}, at::kDouble)));
  moments.update(RunningMoments::sums(at::tensor({1., std::numeric_limits<double>::infinity()}, at::kDouble)));
  EXPECT_TRUE(at::equal(moments.mean(), mean));
  EXPECT_TRUE(at::equal(moments.deviation(), deviation));
  moments.update(RunningMoments::sums(interactions(5, 5)));
  EXPECT_FALSE(at::equal(moments.mean(), mean));
}

TEST(RunningMoments, StandardiseAndBack) {
  const at::Tensor values = interactions(6, 40).view({8, 5}).set_requires_grad(true);
  const RunningMoments moments = moments_of({values.flatten()}, 0.9);
  const at::Tensor standard = moments.standardised(values);
  ASSERT_EQ(standard.sizes(), values.sizes());
  EXPECT_NEAR(standard.mean().item<double>(), 0, 1e-13);
  EXPECT_NEAR(standard.std(/*unbiased=*/false).item<double>(), 1, 1e-12);
  EXPECT_LT(difference(moments.raw(standard), values), 1e-16);
  EXPECT_EQ(moments.standardised(values.to(at::kFloat)).scalar_type(), at::kFloat);
  EXPECT_FALSE(moments.mean().requires_grad());
}

TEST(RunningMoments, BeforeTheFirstValueNothingIsScaled) {
  const RunningMoments moments(0.9, at::kCPU);
  const at::Tensor values = interactions(7, 4);
  EXPECT_TRUE(at::equal(moments.standardised(values), values));
}

TEST(RunningMoments, EqualValuesAreNotBlownUp) {
  for (const double value : {0.0, 1e-9, 0.1, 1e7}) {
    const at::Tensor values = at::full({7}, value, at::kDouble);
    const RunningMoments moments = moments_of({values, values}, 0.9);
    EXPECT_NEAR(moments.deviation().item<double>(), value == 0 ? 1 : 1e-6 * value, 1e-7 * value);
    EXPECT_LT(moments.standardised(values).abs().max().item<double>(), 1e-6) << value;
  }
}

TEST(RunningMoments, AreExactFarFromZero) {
  const at::Tensor values = draw({81}, {1000}) + 1e5;
  EXPECT_NEAR(moments_of({values}, 0.9).deviation().item<double>(), values.std(/*unbiased=*/false).item<double>(),
              1e-5);
}

struct OneTensor : StateVisitor {
  std::vector<std::string> names;
  at::Tensor held;
  bool load = false;
  void tensor(const std::string& name, at::Tensor& tensor) override {
    names.push_back(name);
    if (load) tensor.copy_(held);
    held = tensor.clone();
  }
  void integer(const std::string&, std::int64_t&) override { ADD_FAILURE(); }
  void real(const std::string&, double&) override { ADD_FAILURE(); }
  void text(const std::string&, std::string&) override { ADD_FAILURE(); }
};

TEST(RunningMoments, GoOnFromTheirState) {
  RunningMoments first = moments_of({interactions(8, 5), interactions(9, 6)}, 0.7), second(0.7, at::kCPU);
  OneTensor state;
  first.visit_state(state, "unsil.token_moments");
  state.load = true;
  second.visit_state(state, "unsil.token_moments");
  EXPECT_EQ(state.names, (std::vector<std::string>{"unsil.token_moments", "unsil.token_moments"}));
  for (auto* moments : {&first, &second}) moments->update(RunningMoments::sums(interactions(10, 7)));
  EXPECT_TRUE(at::equal(first.mean(), second.mean()));
  EXPECT_TRUE(at::equal(first.deviation(), second.deviation()));
}

/// For plans of a run.
TEST(RunningMoments, RunOnMetaTensors) {
  register_meta_kernels();
  RunningMoments moments(0.9, at::kMeta);
  const at::Tensor values = at::zeros({5}, at::TensorOptions(at::kMeta));
  moments.update(RunningMoments::sums(values));
  EXPECT_EQ(moments.raw(moments.standardised(values)).sizes(), std::vector<std::int64_t>{5});
}

TEST(RunningMoments, RefuseOtherDecaysAndSums) {
  EXPECT_THROW(RunningMoments(1, at::kCPU), ConfigError);
  EXPECT_THROW(RunningMoments(-0.1, at::kCPU), ConfigError);
  EXPECT_THROW(RunningMoments(std::numeric_limits<double>::quiet_NaN(), at::kCPU), ConfigError);
  RunningMoments moments(0.9, at::kCPU);
  EXPECT_THROW(moments.update(at::zeros({2}, at::kDouble)), c10::Error);
  EXPECT_THROW(moments.update(at::zeros({3}, at::kFloat)), c10::Error);
}

}  // namespace
}  // namespace triptych

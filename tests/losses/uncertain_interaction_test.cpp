// Equation 12: its values, its gradients on both sides of the floor, and where sigma comes to rest.
#include "losses/uncertain_interaction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

const UncertainWeights kWeights{1.5, 0.7, 0.05};

/// One target.
double term(double value, double sigma, double wanted, const UncertainWeights& w) {
  const double off = (value - wanted) * (value - wanted);
  // The tangent of 1 / s in s = floor
  const double inverse = sigma >= w.floor ? 1 / sigma : 1 / w.floor - (sigma - w.floor) / (w.floor * w.floor);
  return off * inverse / w.beta1 + w.beta2 * sigma;
}

TEST(UncertainInteraction, IsEquationTwelve) {
  const at::Tensor value = draw({1}, {40}), wanted = draw({2}, {40}),
                   sigma = draw({3}, {40}).mul(2).sub(1).sigmoid();  // some below the floor
  ASSERT_GT((sigma < kWeights.floor).sum().item<std::int64_t>(), 1);
  double plain = 0, unbounded = 0, squared = 0;
  for (std::int64_t t = 0; t < 40; ++t) {
    const double v = value[t].item<double>(), s = sigma[t].item<double>(), w = wanted[t].item<double>();
    plain += term(v, s, w, kWeights);
    unbounded += (v - w) * (v - w) / (kWeights.beta1 * s) + kWeights.beta2 * s;
    squared += (v - w) * (v - w) / (kWeights.beta1 * s * s) + kWeights.beta2 * s;
  }
  const auto got = uncertain_interaction_loss(value, sigma, wanted, kWeights);
  EXPECT_EQ(got.count, 40);
  EXPECT_NEAR(got.sum.item<double>(), plain, 1e-10);
  EXPECT_GT(std::abs(got.sum.item<double>() - unbounded), 1e-3);
  EXPECT_GT(std::abs(got.sum.item<double>() - squared), 1);
  // Above the floor it is the paper's, to the last digit.
  const at::Tensor above = sigma.clamp_min(kWeights.floor);
  const at::Tensor paper = ((value - wanted).square() / (1.5 * above) + 0.7 * above).sum();
  EXPECT_LT(difference(uncertain_interaction_loss(value, above, wanted, kWeights).sum, paper), 1e-12);
}

TEST(UncertainInteraction, GradientsAreFiniteDifferences) {
  const at::Tensor value = leaf(draw({4}, {12})), sigma = leaf(draw({5}, {12}).mul(2).sub(2).sigmoid()),
                   wanted = leaf(draw({6}, {12}));
  ASSERT_GT((sigma < kWeights.floor).sum().item<std::int64_t>(), 1);
  ASSERT_GT((sigma > kWeights.floor).sum().item<std::int64_t>(), 1);
  uncertain_interaction_loss(value, sigma, wanted, kWeights).sum.backward();
  EXPECT_FALSE(wanted.grad().defined());  // a constant
  for (std::int64_t t = 0; t < 12; ++t) {
    const double v = value[t].item<double>(), s = sigma[t].item<double>(), w = wanted[t].item<double>(), step = 1e-6;
    const double by_value = (term(v + step, s, w, kWeights) - term(v - step, s, w, kWeights)) / (2 * step);
    const double by_sigma = (term(v, s + step, w, kWeights) - term(v, s - step, w, kWeights)) / (2 * step);
    EXPECT_NEAR(value.grad()[t].item<double>(), by_value, 1e-6 * (1 + std::abs(by_value)));
    EXPECT_NEAR(sigma.grad()[t].item<double>(), by_sigma, 1e-6 * (1 + std::abs(by_sigma)));
  }
}

TEST(UncertainInteraction, SigmaIsBounded) {
  // Smooth at the floor, finite at 0, and there still raised by an error: a plain bound would have gradient beta2
  // alone.
  const auto by_sigma = [](double at_sigma, double off) {
    const at::Tensor sigma = leaf(at::full({1}, at_sigma, at::kDouble));
    const auto loss =
        uncertain_interaction_loss(at::full({1}, off, at::kDouble), sigma, at::zeros({1}, at::kDouble), kWeights);
    EXPECT_TRUE(std::isfinite(loss.sum.item<double>()));
    EXPECT_LE(loss.sum.item<double>(), off * off * 2 / (kWeights.floor * kWeights.beta1) + kWeights.beta2);
    loss.sum.backward();
    return sigma.grad().item<double>();
  };
  EXPECT_NEAR(by_sigma(0.05 - 1e-9, 1), by_sigma(0.05 + 1e-9, 1), 1e-3);
  EXPECT_LT(by_sigma(0, 1), -100);
  EXPECT_NEAR(by_sigma(0, 1), -1 / (1.5 * 0.05 * 0.05) + 0.7, 1e-9);
  EXPECT_NEAR(by_sigma(0, 0), 0.7, 1e-12);
  // At rest where it is |error| / sqrt(beta1 beta2).
  EXPECT_NEAR(by_sigma(0.3 / std::sqrt(1.5 * 0.7), 0.3), 0, 1e-12);
}

TEST(UncertainInteraction, NoTargets) {
  const at::Tensor value = leaf(at::zeros({0})), sigma = leaf(at::zeros({0}));
  const auto loss = uncertain_interaction_loss(value, sigma, at::zeros({0}));
  loss.sum.backward();
  EXPECT_EQ(loss.count, 0);
  EXPECT_EQ(loss.sum.item<double>(), 0);
  EXPECT_EQ(loss.sum.scalar_type(), at::kFloat);
  EXPECT_EQ(value.grad().numel() + sigma.grad().numel(), 0);
}

TEST(UncertainInteraction, RefusesWhatDoesNotFit) {
  const at::Tensor three = at::ones({3});
  EXPECT_THROW(uncertain_interaction_loss(three, at::ones({2}), three), c10::Error);
  EXPECT_THROW(uncertain_interaction_loss(three, three, at::ones({3, 1})), c10::Error);
  EXPECT_THROW(uncertain_interaction_loss(three, three, three, {.floor = 0}), c10::Error);
  EXPECT_THROW(uncertain_interaction_loss(three, three, three, {.beta1 = 0}), c10::Error);
}

}  // namespace
}  // namespace triptych

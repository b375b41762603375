// The fit against a plain formula: finite differences of the loss vanish at the answer, and answers known by hand.
#include "core/eval/logistic_regression.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/eval/toy_corpus.h"

namespace triptych {
namespace {

/// The loss by loops, in fp64.
double plain_loss(const LogisticRows& rows, const at::Tensor& weight, const at::Tensor& bias, double l2) {
  const auto x = rows.features_nd.accessor<double, 2>();
  const auto y = rows.class_n.accessor<std::int64_t, 1>();
  const auto w = weight.accessor<double, 2>();
  const auto b = bias.accessor<double, 1>();
  double loss = 0, squares = 0;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    double sum = 0, own = 0;
    for (std::int64_t c = 0; c < rows.classes; ++c) {
      double score = b[c];
      for (std::int64_t k = 0; k < x.size(1); ++k) score += w[c][k] * x[i][k];
      sum += std::exp(score);
      if (c == y[i]) own = score;
    }
    loss += (std::log(sum) - own) / static_cast<double>(x.size(0));
  }
  for (std::int64_t c = 0; c < rows.classes; ++c) {
    for (std::int64_t k = 0; k < x.size(1); ++k) squares += w[c][k] * w[c][k];
  }
  return loss + l2 / 2 * squares;
}

LogisticRows noisy_rows() {
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < 60; ++i) classes.push_back(i * i % 7 % 4);
  return {random_units(60, 5, 11).to(at::kDouble) * 3, at::tensor(classes, at::kLong), 4};
}

/// Central difference of the loss by every weight and bias, the largest magnitude.
double largest_slope(const LogisticRows& rows, at::Tensor weight, at::Tensor bias, double l2) {
  constexpr double kStep = 1e-5;
  double largest = 0;
  for (auto& parameters : {weight.view({-1}), bias}) {
    auto values = parameters.accessor<double, 1>();
    for (std::int64_t k = 0; k < values.size(0); ++k) {
      const double kept = values[k];
      values[k] = kept + kStep;
      const double above = plain_loss(rows, weight, bias, l2);
      values[k] = kept - kStep;
      const double below = plain_loss(rows, weight, bias, l2);
      values[k] = kept;
      largest = std::max(largest, std::abs(above - below) / (2 * kStep));
    }
  }
  return largest;
}

TEST(FitLogistic, TheSlopeOfThePlainLossVanishesAtTheAnswerAndNowhereElse) {
  const auto rows = noisy_rows();
  for (const double l2 : {1e-4, 1e-2, 1.0}) {
    const auto model = fit_logistic(rows, l2, 1e-10);
    EXPECT_TRUE(model.converged);
    EXPECT_LE(model.gradient, 1e-10);
    const auto weight = model.weight_Cd.contiguous().clone(), bias = model.bias_C.contiguous().clone();
    EXPECT_LT(largest_slope(rows, weight, bias, l2), 1e-9) << "l2 " << l2;
    EXPECT_GT(largest_slope(rows, weight * 1.01, bias, l2), 1e-6) << "l2 " << l2;
  }
}

TEST(FitLogistic, WithoutFeaturesTheClassesHaveTheirShares) {
  const LogisticRows rows = {at::zeros({10, 2}, at::kDouble), at::tensor({0, 0, 0, 0, 0, 1, 1, 1, 2, 2}, at::kLong), 3};
  const auto model = fit_logistic(rows, 0.1, 1e-12);
  EXPECT_TRUE(at::allclose(model.bias_C.softmax(0), at::tensor({0.5, 0.3, 0.2}, at::kDouble), 1e-10, 1e-12));
  EXPECT_EQ(model.weight_Cd.abs().max().item<double>(), 0);
}

TEST(FitLogistic, TwoOppositeRowsByHand) {
  // x = 1 of class 0, x = -1 of class 1: by symmetry the weights are w and -w with l2 w = 1 - sigmoid(2 w), no bias.
  const double l2 = 0.3;
  double low = 0, high = 10;
  for (int i = 0; i < 100; ++i) {
    const double w = (low + high) / 2;
    if (l2 * w < 1 - 1 / (1 + std::exp(-2 * w))) {
      low = w;
    } else {
      high = w;
    }
  }
  const LogisticRows rows = {at::tensor({1.0, -1.0}, at::kDouble).view({2, 1}), at::tensor({0, 1}, at::kLong), 2};
  const auto model = fit_logistic(rows, l2, 1e-12);
  EXPECT_NEAR(model.weight_Cd[0][0].item<double>(), low, 1e-10);
  EXPECT_NEAR(model.weight_Cd[1][0].item<double>(), -low, 1e-10);
  EXPECT_NEAR(model.bias_C.abs().max().item<double>(), 0, 1e-10);
}

TEST(FitLogistic, SeparableRowsAreAllRightAndTheToleranceIsKept) {
  const auto corner = at::eye(4, at::kDouble);
  const LogisticRows rows = {at::cat({corner, corner * 2, corner * 0.5}), at::arange(12, at::kLong).remainder(4), 4};
  const auto model = fit_logistic(rows, 1e-6, 1e-7);
  EXPECT_TRUE(model.converged);
  EXPECT_TRUE(at::equal(model.scores(rows.features_nd).argmax(1), rows.class_n));
  EXPECT_FALSE(fit_logistic(rows, 1e-6, 0).converged) << "a tolerance that cannot be met is told";
}

}  // namespace
}  // namespace triptych

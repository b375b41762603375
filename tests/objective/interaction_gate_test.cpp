// The gate of UNSIL against its policy, draw by draw and in the mean.
#include "core/objective/interaction_gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

constexpr std::int64_t kNoCap = 1 << 30;

at::Tensor gate_uniform(std::uint64_t key, at::IntArrayRef shape) {
  return at::empty(shape, at::kFloat)
      .uniform_(0, 1, keyed_generator(random_key(9, Purpose::kTest, {41, key}), at::kCPU));
}

at::Tensor gate_places(std::initializer_list<std::int64_t> at) {
  return at::tensor(at::ArrayRef<std::int64_t>(at), at::kLong);
}

/// The policy in a loop: eligible targets with u <= sigma; of too many the first by u / sigma, then by place.
at::Tensor plain_gate(const at::Tensor& sigma, const at::Tensor& uniform, const at::Tensor& eligible,
                      std::int64_t most) {
  std::vector<std::pair<float, std::int64_t>> wanted;
  for (std::int64_t i = 0; i < sigma.numel(); ++i) {
    const auto s = sigma.flatten()[i].item<float>(), u = uniform.flatten()[i].item<float>();
    if (u <= s && (!eligible.defined() || eligible.flatten()[i].item<bool>())) wanted.emplace_back(u / s, i);
  }
  std::sort(wanted.begin(), wanted.end());
  if (static_cast<std::int64_t>(wanted.size()) > most) wanted.resize(static_cast<std::size_t>(most));
  std::vector<std::int64_t> at;
  for (const auto& [ratio, place] : wanted) at.push_back(place);
  std::sort(at.begin(), at.end());
  return at::tensor(at, at::kLong);
}

TEST(InteractionGate, FollowsThePolicyDrawByDraw) {
  for (std::uint64_t key = 0; key < 60; ++key) {
    const at::Tensor sigma = gate_uniform(3 * key, {5, 4}), uniform = gate_uniform(3 * key + 1, {5, 4});
    const at::Tensor eligible = key % 3 == 0 ? at::Tensor() : gate_uniform(3 * key + 2, {5, 4}) < 0.7;
    for (const std::int64_t most : {1, 3, 7, 20}) {
      const at::Tensor got = gated_targets(sigma, uniform, eligible, most);
      EXPECT_TRUE(at::equal(got, plain_gate(sigma, uniform, eligible, most))) << key << " " << most << " " << got;
    }
  }
}

/// z of the share of targets that are gated, under the claim that it is `share`.
double gate_z(const at::Tensor& sigma, double share, std::int64_t draws) {
  double gated = 0;
  for (std::int64_t i = 0; i < draws; ++i)
    gated += static_cast<double>(
        gated_targets(sigma, gate_uniform(1000 + static_cast<std::uint64_t>(i), sigma.sizes()), {}, kNoCap).size(0));
  const auto all = static_cast<double>(draws * sigma.numel());
  const double variance = (sigma * (1 - sigma)).to(at::kDouble).mean().item<double>();
  return (gated / all - share) / std::sqrt(variance / all);
}

TEST(InteractionGate, ItsShareIsTheMeanUncertainty) {
  for (const double level : {0.05, 0.4, 0.9}) {
    const at::Tensor sigma = (gate_uniform(7, {16, 8}) * 0.1 - 0.05 + level).clamp(0, 1);
    const double mean = sigma.to(at::kDouble).mean().item<double>();
    EXPECT_LT(std::abs(gate_z(sigma, mean, 800)), 4) << level;
    EXPECT_GT(std::abs(gate_z(sigma, mean + 0.02, 800)), 4) << level;  // control
  }
}

TEST(InteractionGate, AtTheBoundsOfUncertaintyAllOrNoneIsTheSamplers) {
  const at::Tensor uniform = gate_uniform(9, {6, 3});
  EXPECT_TRUE(at::equal(gated_targets(at::ones({6, 3}), uniform, {}, kNoCap), at::arange(18)));
  EXPECT_EQ(gated_targets(at::zeros({6, 3}), uniform, {}, kNoCap).size(0), 0);
  EXPECT_EQ(gated_targets(at::zeros({6, 3}), uniform, {}, kNoCap).scalar_type(), at::kLong);
  // u <= sigma holds for 0 <= 0.
  EXPECT_TRUE(at::equal(gated_targets(at::zeros({1, 1}), at::zeros({1, 1}), {}, kNoCap), gate_places({0})));
  EXPECT_EQ(gated_targets(at::empty({0, 3}), at::empty({0, 3}), {}, 2).size(0), 0);
}

TEST(InteractionGate, ACapKeepsTheLeastQuotientsAndOfEqualsTheFirst) {
  const at::Tensor sigma = at::tensor({1.0, 0.5, 0.25, 1.0, 0.5, 0.01}, at::kFloat),
                   uniform = at::tensor({0.5, 0.25, 0.125, 0.1, 0.4, 0.5}, at::kFloat);
  // Quotients: .5, .5, .5, .1, .8; the last one is not the sampler's.
  EXPECT_TRUE(at::equal(gated_targets(sigma, uniform, {}, 9), gate_places({0, 1, 2, 3, 4})));
  EXPECT_TRUE(at::equal(gated_targets(sigma, uniform, {}, 4), gate_places({0, 1, 2, 3})));
  EXPECT_TRUE(at::equal(gated_targets(sigma, uniform, {}, 2), gate_places({0, 3})));
  const at::Tensor eligible = at::tensor({0, 1, 1, 0, 1, 1}, at::kLong).to(at::kBool);
  EXPECT_TRUE(at::equal(gated_targets(sigma, uniform, eligible, 2), gate_places({1, 2})));
  EXPECT_EQ(gated_targets(sigma, uniform, at::zeros({6}, at::kBool), 2).size(0), 0);
}

/// Which of the gated ones a cap keeps must not favour the uncertain: given the gate, u / sigma is uniform whatever
/// sigma is.
TEST(InteractionGate, WhatACapKeepsDoesNotDependOnUncertainty) {
  at::Tensor sigma = at::full({200}, 0.9, at::kFloat);
  sigma.narrow(0, 0, 100).fill_(0.3);
  double low = 0, gated_low = 0, all = 0, gated = 0;
  for (std::uint64_t draw = 0; draw < 400; ++draw) {
    const at::Tensor uniform = gate_uniform(5000 + draw, {200});
    const at::Tensor kept = gated_targets(sigma, uniform, {}, 40), free = gated_targets(sigma, uniform, {}, kNoCap);
    EXPECT_EQ(kept.size(0), 40);
    low += (kept < 100).sum().item<double>();
    gated_low += (free < 100).sum().item<double>();
    all += 40;
    gated += static_cast<double>(free.size(0));
  }
  EXPECT_NEAR(low / all, gated_low / gated, 4 * std::sqrt(0.25 * 0.75 / all));
  EXPECT_NEAR(gated_low / gated, 0.25, 0.01);
}

TEST(InteractionGate, BeforeThereIsANetworkWholePicturesAreDrawn) {
  const at::Tensor uniform = at::tensor({0.9, 0.0, 0.3, 0.0, 0.5, 0.0, 0.3, 0.1}, at::kFloat).view({4, 2});
  EXPECT_TRUE(at::equal(targets_of_rows(uniform, 1), gate_places({2, 3})));  // at least one row
  EXPECT_TRUE(at::equal(targets_of_rows(uniform, 3), gate_places({2, 3})));  // the first of equals
  EXPECT_TRUE(at::equal(targets_of_rows(uniform, 4), gate_places({2, 3, 6, 7})));
  EXPECT_TRUE(at::equal(targets_of_rows(uniform, 7), gate_places({2, 3, 4, 5, 6, 7})));
  EXPECT_TRUE(at::equal(targets_of_rows(uniform, 100), at::arange(8)));
  std::vector<double> chosen(8, 0);
  for (std::uint64_t draw = 0; draw < 2000; ++draw) {
    const at::Tensor got = targets_of_rows(gate_uniform(9000 + draw, {8, 3}), 9);
    EXPECT_EQ(got.size(0), 9);
    for (std::int64_t i = 0; i < 9; i += 3) chosen[static_cast<std::size_t>(got[i].item<std::int64_t>() / 3)] += 1;
  }
  for (const double count : chosen) EXPECT_NEAR(count / 2000, 3.0 / 8, 4 * std::sqrt(0.375 * 0.625 / 2000));
}

TEST(InteractionGate, ShapesThatDifferAreRefused) {
  EXPECT_ANY_THROW(gated_targets(at::ones({2, 3}), at::ones({3, 2}), {}, 1));
}

}  // namespace
}  // namespace triptych

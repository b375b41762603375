// Values and interactions of random games: against the definitions written as sums over sets, and by their axioms.
#include "losses/shapley.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

using Players = std::set<int>;

/// A value for each of 2^n coalitions, bit c is player c.
struct RandomGame {
  int players;
  at::Tensor value;
  RandomGame(std::uint64_t key, int n) : players(n), value(draw({77, key}, {std::int64_t{1} << n})) {}
  double operator()(const Players& s) const {
    std::int64_t number = 0;
    for (const int c : s) number += std::int64_t{1} << c;
    return value[number].item<double>();
  }
  CoalitionValue as_function() const {
    return [this](const at::Tensor& keep) {
      return value.index_select(0, keep.to(at::kLong).mul(at::pow(2, at::arange(players))).sum(1));
    };
  }
};

Players united(const Players& a, const Players& b) {
  Players both = a;
  both.insert(b.begin(), b.end());
  return both;
}

std::vector<Players> subsets(const Players& of) {
  std::vector<Players> all = {{}};
  for (const int c : of) {
    for (std::size_t i = 0, count = all.size(); i < count; ++i) all.push_back(united(all[i], {c}));
  }
  return all;
}

double factorial(std::size_t n) {
  return std::tgamma(static_cast<double>(n) + 1);
}

/// Equation 3 for players `block` taken as one, among `rest`.
double plain_phi(const RandomGame& v, const Players& block, const Players& rest) {
  double phi = 0;
  const std::size_t n = rest.size() + 1;
  for (const Players& s : subsets(rest))
    phi += factorial(s.size()) * factorial(n - s.size() - 1) / factorial(n) * (v(united(s, block)) - v(s));
  return phi;
}

Players all_but(int n, const Players& block) {
  Players rest;
  for (int c = 0; c < n; ++c) {
    if (!block.contains(c)) rest.insert(c);
  }
  return rest;
}

/// Equation 4.
double plain_interaction(const RandomGame& v, const Players& block) {
  const Players rest = all_but(v.players, block);
  double interaction = plain_phi(v, block, rest);
  for (const int i : block) interaction -= plain_phi(v, {i}, rest);
  return interaction;
}

/// The mistake: each other player in with probability 1/2, instead of sizes drawn evenly.
double banzhaf(const RandomGame& v, const Players& block) {
  const Players rest = all_but(v.players, block);
  double sum = 0;
  for (const Players& s : subsets(rest)) {
    sum += v(united(s, block)) + (static_cast<double>(block.size()) - 1) * v(s);
    for (const int i : block) sum -= v(united(s, {i}));
  }
  return sum / std::pow(2.0, rest.size());
}

at::Tensor as_mask(const Players& block, int n) {
  at::Tensor mask = at::zeros({n}, at::kBool);
  for (const int c : block) mask[c] = true;
  return mask;
}

TEST(Shapley, ValuesAreTheDefinition) {
  for (int n = 1; n <= 6; ++n) {
    const RandomGame v(n, n);
    const at::Tensor phi = shapley_values(v.as_function(), n);
    ASSERT_EQ(phi.size(0), n);
    for (int i = 0; i < n; ++i) EXPECT_NEAR(phi[i].item<double>(), plain_phi(v, {i}, all_but(n, {i})), 1e-12);
  }
}

TEST(Shapley, EfficiencySymmetryDummy) {
  for (std::uint64_t key = 0; key < 20; ++key) {
    const int n = 3 + static_cast<int>(key % 5);
    const RandomGame v(100 + key, n);
    const at::Tensor phi = shapley_values(v.as_function(), n);
    EXPECT_NEAR(phi.sum().item<double>(), v(all_but(n, {})) - v({}), 1e-12);
    EXPECT_GT(std::abs(phi.sum().item<double>() - v(all_but(n, {}))), 1e-3);  // v({}) counts
    // Players 0 and 1 alike: what one brings, the other does.
    const CoalitionValue alike = [&](const at::Tensor& keep) {
      const at::Tensor other = keep.clone();
      other.select(1, 0).copy_(keep.select(1, 1));
      other.select(1, 1).copy_(keep.select(1, 0));
      return v.as_function()(keep) + v.as_function()(other);
    };
    const at::Tensor same = shapley_values(alike, n);
    EXPECT_NEAR(same[0].item<double>(), same[1].item<double>(), 1e-12);
    EXPECT_GT(std::abs(phi[0].item<double>() - phi[1].item<double>()), 1e-3);
    // Player 2 brings .7 to anyone: that is its value, and it interacts with none.
    const CoalitionValue dummy = [&](const at::Tensor& keep) {
      const at::Tensor without = keep.clone();
      without.select(1, 2).fill_(false);
      return v.as_function()(without) + 0.7 * keep.select(1, 2).to(at::kDouble);
    };
    EXPECT_NEAR(shapley_values(dummy, n)[2].item<double>(), 0.7, 1e-12);
    const at::Tensor interactions = pair_interactions(dummy, n);
    EXPECT_NEAR(interactions[2].abs().max().item<double>(), 0, 1e-12);
    EXPECT_GT(interactions[0][1].abs().item<double>(), 1e-3);
  }
}

TEST(Shapley, InteractionsAreEquationFour) {
  for (int n = 1; n <= 6; ++n) {
    const RandomGame v(200 + n, n);
    for (const Players& block : subsets(all_but(n, {}))) {
      if (block.empty()) continue;
      const double got = block_interaction(v.as_function(), as_mask(block, n)).item<double>();
      EXPECT_NEAR(got, plain_interaction(v, block), 1e-12);
      if (block.size() == 1) {
        EXPECT_EQ(got, 0);
      } else if (n - block.size() > 1) {
        EXPECT_GT(std::abs(got - banzhaf(v, block)), 1e-6);
      }
    }
    const at::Tensor pairs = pair_interactions(v.as_function(), n);
    ASSERT_EQ(pairs.sizes(), at::IntArrayRef({n, n}));
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j)
        EXPECT_NEAR(pairs[i][j].item<double>(), i == j ? 0 : plain_interaction(v, {i, j}), 1e-12);
    }
  }
}

TEST(Shapley, ConstantsAndSumsOfGames) {
  const int n = 5;
  const RandomGame v(1, n), w(2, n);
  const at::Tensor block = as_mask({0, 1, 3}, n);
  const CoalitionValue both = [&](const at::Tensor& keep) {
    return v.as_function()(keep) - 3 * w.as_function()(keep) + 100;
  };
  EXPECT_LT(difference(block_interaction(both, block),
                       block_interaction(v.as_function(), block) - 3 * block_interaction(w.as_function(), block)),
            1e-12);
}

TEST(Shapley, ManyPlayers) {
  const int n = 16;
  const at::Tensor of = draw({5}, {n});
  // A sum and a product: phi is the sum's part and half of the product's, each.
  const CoalitionValue value = [&](const at::Tensor& keep) {
    const at::Tensor x = keep.to(at::kDouble);
    return x.mv(of) + 6 * x.select(1, 0) * x.select(1, 15);
  };
  at::Tensor expected = of.clone();
  expected[0] += 3;
  expected[15] += 3;
  EXPECT_LT(difference(shapley_values(value, n), expected), 1e-12);
  EXPECT_NEAR(block_interaction(value, as_mask({0, 15}, n)).item<double>(), 6, 1e-12);
  EXPECT_NEAR(block_interaction(value, as_mask({0, 14}, n)).item<double>(), 0, 1e-12);
}

TEST(Shapley, RefusesWhatDoesNotFit) {
  const auto sum = [](const at::Tensor& keep) { return keep.sum(1); };
  EXPECT_THROW(shapley_values(sum, kMostPlayers + 1), c10::Error);
  EXPECT_THROW(pair_interactions(sum, kMostPlayers + 1), c10::Error);
  EXPECT_THROW(block_interaction(sum, at::ones({kMostPlayers + 1}, at::kBool)), c10::Error);
  EXPECT_THROW(block_interaction(sum, at::zeros({3}, at::kBool)), c10::Error);
  EXPECT_THROW(shapley_values([](const at::Tensor& keep) { return keep.to(at::kDouble); }, 3), c10::Error);
  EXPECT_THROW(instability(at::zeros({1, 4})), c10::Error);
}

TEST(Instability, IsTheMeanOverPairsOfRuns) {
  const at::Tensor x = draw({6}, {7, 3});
  double plain = 0;
  for (int item = 0; item < 3; ++item) {
    double apart = 0, size = 0;
    for (int u = 0; u < 7; ++u) {
      size += std::abs(x[u][item].item<double>()) / 7;
      for (int v = 0; v < 7; ++v) apart += std::abs(x[u][item].item<double>() - x[v][item].item<double>()) / (7 * 6);
    }
    plain += apart / size / 3;
  }
  EXPECT_NEAR(instability(x), plain, 1e-12);
  EXPECT_EQ(instability(at::ones({4, 2})), 0);
  // An item that is always 0 says nothing.
  EXPECT_NEAR(instability(at::cat({x, at::zeros({7, 1}, at::kDouble)}, 1)), plain, 1e-12);
}

}  // namespace
}  // namespace triptych

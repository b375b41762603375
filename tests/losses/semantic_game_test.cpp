// The game of regions and phrases: exact interactions against a look at every coalition, and the sampler against them.
#include "losses/semantic_game.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <vector>

#include "losses/shapley.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

constexpr AbsentPlayers kConventions[] = {AbsentPlayers::kFixed, AbsentPlayers::kRenormalised};

using Matrix = std::vector<std::vector<double>>;

Matrix as_matrix(const at::Tensor& of) {
  Matrix rows;
  for (std::int64_t i = 0; i < of.size(0); ++i) {
    rows.emplace_back();
    for (std::int64_t j = 0; j < of.size(1); ++j) rows.back().push_back(of[i][j].item<double>());
  }
  return rows;
}

/// v of the header. in: regions, then phrases. `one_sided` is a mistake.
double plain_value(const Matrix& alike, const std::vector<bool>& in, const SemanticGame& game, bool one_sided = false) {
  const std::size_t m = alike.size(), n = alike[0].size();
  const auto counts = [&](std::size_t player) { return game.absent == AbsentPlayers::kFixed || in[player]; };
  double by_region = 0, by_phrase = 0, regions = 0, phrases = 0;
  for (std::size_t i = 0; i < m; ++i) {
    if (!in[i]) continue;
    double most = 0, sum = 0;
    for (std::size_t j = 0; j < n; ++j) {
      if (counts(m + j)) sum += std::exp(alike[i][j] / game.temperature);
    }
    for (std::size_t j = 0; j < n; ++j) {
      if (in[m + j]) most = std::max(most, std::exp(alike[i][j] / game.temperature) / sum);
    }
    by_region += most;
    ++regions;
  }
  for (std::size_t j = 0; j < n; ++j) {
    if (!in[m + j]) continue;
    double most = 0, sum = 0;
    for (std::size_t i = 0; i < m; ++i) {
      if (counts(i)) sum += std::exp(alike[i][j] / game.temperature);
    }
    for (std::size_t i = 0; i < m; ++i) {
      if (in[i]) most = std::max(most, std::exp(alike[i][j] / game.temperature) / sum);
    }
    by_phrase += most;
    ++phrases;
  }
  if (regions == 0 || phrases == 0) return 0;
  return one_sided ? by_region / regions : (by_region / regions + by_phrase / phrases) / 2;
}

/// Equation 10 over all coalitions: 1 / (number of sizes x coalitions of the size).
Matrix brute_force(const Matrix& alike, const SemanticGame& game, bool one_sided = false) {
  const std::size_t m = alike.size(), n = alike[0].size(), players = m + n;
  std::vector<double> value;
  for (std::size_t s = 0; s < std::size_t{1} << players; ++s) {
    std::vector<bool> in;
    for (std::size_t c = 0; c < players; ++c) in.push_back((s >> c & 1) != 0);
    value.push_back(plain_value(alike, in, game, one_sided));
  }
  Matrix interaction(m, std::vector<double>(n));
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const std::size_t region = std::size_t{1} << i, phrase = std::size_t{1} << (m + j);
      std::vector<double> sum(players - 1), number(players - 1);
      for (std::size_t s = 0; s < value.size(); ++s) {
        if ((s & (region | phrase)) != 0) continue;
        const auto size = static_cast<std::size_t>(__builtin_popcountll(s));
        sum[size] += value[s | region | phrase] - value[s | region] - value[s | phrase] + value[s];
        ++number[size];
      }
      for (std::size_t c = 0; c < sum.size(); ++c)
        interaction[i][j] += sum[c] / number[c] / static_cast<double>(players - 1);
    }
  }
  return interaction;
}

double apart(const at::Tensor& got_mn, const Matrix& expected) {
  double most = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    for (std::size_t j = 0; j < expected[0].size(); ++j) {
      const double off = std::abs(got_mn[i][j].item<double>() - expected[i][j]);
      most = std::isnan(off) ? std::numeric_limits<double>::infinity() : std::max(most, off);
    }
  }
  return most;
}

at::Tensor one_picture(const at::Tensor& alike_mn, const SemanticGame& game) {
  return semantic_interactions(alike_mn.unsqueeze(0), {}, {}, game)[0];
}

TEST(SemanticGame, IsTheSumOverAllCoalitions) {
  double worst = 0;
  for (const auto absent : kConventions) {
    for (std::uint64_t m = 1; m <= 5; ++m) {
      for (std::uint64_t n = 1; n <= 5; ++n) {
        // Spread, flat, sharp.
        const SemanticGame game{absent, std::vector<double>{1, 3, 0.1}[(m + n) % 3]};
        const at::Tensor alike = draw({m, n, 4}, {static_cast<std::int64_t>(m), static_cast<std::int64_t>(n)});
        const double off = apart(one_picture(alike, game), brute_force(as_matrix(alike), game));
        EXPECT_LT(off, 1e-12) << m << " x " << n;
        worst = std::max(worst, off);
        const SemanticGame other{absent, game.temperature * 1.1};
        if (m > 1 && n > 1) {  // mistakes
          EXPECT_GT(apart(one_picture(alike, other), brute_force(as_matrix(alike), game)), 1e-6);
          EXPECT_GT(apart(one_picture(alike, game), brute_force(as_matrix(alike), game, true)), 1e-6);
        }
      }
    }
  }
  std::cout << "largest difference to the sum over all coalitions: " << worst << "\n";
}

TEST(SemanticGame, ConventionsDiffer) {
  const at::Tensor alike = draw({9}, {4, 3});
  EXPECT_GT(difference(one_picture(alike, {AbsentPlayers::kFixed}), one_picture(alike, {AbsentPlayers::kRenormalised})),
            1e-3);
}

TEST(SemanticGame, AgreesWithTheGeneralIndex) {
  const at::Tensor alike = draw({10}, {4, 3});
  for (const auto absent : kConventions) {
    const SemanticGame game{absent};
    const CoalitionValue value = [&](const at::Tensor& keep) {
      std::vector<double> values;
      for (std::int64_t s = 0; s < keep.size(0); ++s) {
        std::vector<bool> in;
        for (std::int64_t c = 0; c < 7; ++c) in.push_back(keep[s][c].item<bool>());
        values.push_back(plain_value(as_matrix(alike), in, game));
      }
      return at::tensor(values, at::kDouble);
    };
    EXPECT_LT(difference(one_picture(alike, game), pair_interactions(value, 7).narrow(0, 0, 4).narrow(1, 4, 3)), 1e-12);
  }
}

TEST(SemanticGame, TiesAndConstants) {
  for (const auto absent : kConventions) {
    for (const std::int64_t m : {1, 2, 4, 5}) {
      for (const std::int64_t n : {1, 3, 5}) {
        const at::Tensor flat = at::full({m, n}, 0.3, at::kDouble), tied = draw({m + 50UL, n + 0UL}, {m, n}).round();
        for (const auto& alike : {flat, tied, tied + 1000}) {
          EXPECT_LT(apart(one_picture(alike, {absent}), brute_force(as_matrix(alike - alike.max()), {absent})), 1e-12);
        }
      }
    }
  }
  // Far apart: all shares are 0 or 1, and none is lost to 0 / 0 where only small ones are present.
  const at::Tensor far = draw({60}, {4, 4}) * 5000;
  for (const auto absent : kConventions) EXPECT_TRUE(one_picture(far, {absent}).isfinite().all().item<bool>());
  // One region and one phrase are worth 1 together, nothing apart.
  for (const auto absent : kConventions) EXPECT_EQ(one_picture(at::full({1, 1}, -3.0), {absent}).item<double>(), 1);
}

TEST(SemanticGame, SymmetriesOfTheGame) {
  const at::Tensor alike = draw({11}, {5, 4}), order_m = at::tensor({3, 0, 4, 1, 2}, at::kLong),
                   order_n = at::tensor({2, 3, 0, 1}, at::kLong);
  for (const auto absent : kConventions) {
    const at::Tensor whole = one_picture(alike, {absent});
    EXPECT_LT(difference(one_picture(alike.t(), {absent}).t(), whole), 1e-14);
    EXPECT_LT(difference(one_picture(alike.index_select(0, order_m).index_select(1, order_n), {absent}),
                         whole.index_select(0, order_m).index_select(1, order_n)),
              1e-14);
    EXPECT_LT(difference(one_picture(alike * 7, {absent, 7}), whole), 1e-14);
  }
}

/// Weights by logarithms in long double, sums over sizes written out: no table, no sorting, no prefix.
at::Tensor by_sizes(const at::Tensor& alike_mn, bool transposed) {
  using Wide = long double;
  const at::Tensor alike = transposed ? alike_mn.t() : alike_mn;
  const Matrix share = as_matrix(alike.softmax(1));
  const int m = static_cast<int>(alike.size(0)), n = static_cast<int>(alike.size(1));
  const auto log_over = [](int of, int k) {
    return std::lgamma(Wide(of + 1)) - std::lgamma(Wide(k + 1)) - std::lgamma(Wide(of - k + 1));
  };
  // Weight of one coalition with r regions and p phrases, times the coalitions of that kind
  std::vector<Wide> own(n), others(n);
  for (int p = 0; p < n; ++p) {
    for (int r = 0; r < m; ++r) {
      const Wide w = -log_over(m + n - 2, r + p) - std::log(Wide(m + n - 1));
      own[p] += std::exp(w + log_over(m - 1, r) + log_over(n - 1, p)) / (r + 1);
      if (r > 0) others[p] += std::exp(w + log_over(m - 2, r - 1) + log_over(n - 1, p)) / (Wide(r) * (r + 1));
    }
  }
  // Of p of the n - 1 other phrases in order the q-th is the largest, with this probability.
  std::vector<std::vector<Wide>> largest(n, std::vector<Wide>(n));
  for (int p = 1; p < n; ++p) {
    for (int q = p - 1; q < n - 1; ++q) largest[p][q] = std::exp(log_over(q, p - 1) - log_over(n - 1, p));
  }
  at::Tensor sum = at::zeros({m, n}, at::kDouble);
  for (int j = 0; j < n; ++j) {
    std::vector<Wide> mine(m), theirs(m);
    Wide all = 0;
    for (int a = 0; a < m; ++a) {
      std::vector<double> rest = share[a];
      rest.erase(rest.begin() + j);
      std::sort(rest.begin(), rest.end());
      for (int p = 0; p < n; ++p) {
        // E over sets of p other phrases of max(0, share_j - their largest)
        Wide gain = p == 0 ? Wide(share[a][j]) : 0;
        for (int q = p - 1; p > 0 && q < n - 1; ++q)
          gain += largest[p][q] * std::max(Wide(0), Wide(share[a][j]) - Wide(rest[q]));
        mine[a] += own[p] * gain;
        theirs[a] += others[p] * gain;
      }
      all += theirs[a];
    }
    for (int i = 0; i < m; ++i) sum[i][j] = static_cast<double>(mine[i] - (all - theirs[i])) / 2;
  }
  return transposed ? sum.t() : sum;
}

TEST(SemanticGame, LargeGamesKeepTheirDigits) {
  struct Size {
    std::int64_t m, n;
  };
  for (const auto& [m, n] : {Size{4, 3}, Size{64, 64}, Size{64, 1}, Size{1, 64}, Size{40, 7}, Size{100, 5}}) {
    const at::Tensor alike = draw({20, m + 0UL, n + 0UL}, {m, n}) * 2;
    const at::Tensor expected = by_sizes(alike, false) + by_sizes(alike, true), got = one_picture(alike, {});
    EXPECT_LT(difference(got, expected), 1e-15) << m << " x " << n;
    EXPECT_LT(((got - expected) / expected).abs().median().item<double>(), 1e-10) << m << " x " << n;
  }
}

TEST(SemanticGame, CountsCutThePlayers) {
  const std::int64_t b = 40, m = 6, n = 5;
  at::Tensor alike = draw({12}, {b, m, n});
  const at::Tensor regions = at::arange(b) % 7, phrases = (at::arange(b) * 5 + 2) % 6;
  const at::Tensor outside = (at::arange(m).view({1, m, 1}) >= regions.view({b, 1, 1}))
                                 .logical_or(at::arange(n).view({1, 1, n}) >= phrases.view({b, 1, 1}));
  for (const auto absent : kConventions) {
    const at::Tensor got = semantic_interactions(alike, phrases, regions, {absent});
    ASSERT_EQ(got.sizes(), alike.sizes());
    ASSERT_EQ(got.scalar_type(), at::kDouble);
    EXPECT_EQ(got.masked_select(outside).abs().max().item<double>(), 0);
    for (std::int64_t row = 0; row < b; ++row) {
      const auto of_m = regions[row].item<std::int64_t>(), of_n = phrases[row].item<std::int64_t>();
      if (of_m == 0 || of_n == 0) continue;
      const at::Tensor alone = alike[row].narrow(0, 0, of_m).narrow(1, 0, of_n);
      EXPECT_LT(difference(got[row].narrow(0, 0, of_m).narrow(1, 0, of_n), one_picture(alone, {absent})), 1e-15);
    }
    // Whatever stands outside; other types; no picture at all.
    const at::Tensor filled = alike.masked_fill(outside, std::numeric_limits<double>::quiet_NaN());
    EXPECT_TRUE(at::equal(semantic_interactions(filled, phrases, regions, {absent}), got));
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const at::Tensor narrow = alike.to(type);
      EXPECT_TRUE(at::equal(semantic_interactions(narrow, phrases, regions, {absent}),
                            semantic_interactions(narrow.to(at::kDouble), phrases, regions, {absent})));
    }
    EXPECT_EQ(semantic_interactions(at::zeros({0, m, n}), {}, {}, {absent}).numel(), 0);
    EXPECT_EQ(semantic_interactions(at::zeros({2, m, 0}), {}, {}, {absent}).numel(), 0);
    EXPECT_TRUE(at::equal(
        semantic_interactions(alike.transpose(1, 2).contiguous().transpose(1, 2), phrases, regions, {absent}), got));
  }
}

TEST(SemanticGame, WhatIsNotFiniteIsSeen) {
  for (const auto absent : kConventions) {
    for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
      at::Tensor alike = draw({13}, {2, 3, 3});
      alike[0][1][1] = bad;
      const at::Tensor got = semantic_interactions(alike, {}, {}, {absent});
      EXPECT_TRUE(got[0].isnan().all().item<bool>());
      EXPECT_TRUE(got[1].isfinite().all().item<bool>());
      EXPECT_TRUE(
          sampled_semantic_interactions(alike[0], at::zeros({3, 3, 2, 5}), {absent}).isnan().all().item<bool>());
    }
  }
}

at::Tensor semantic_draws(std::uint64_t key, at::IntArrayRef shape) {
  return at::empty(shape, at::kDouble)
      .uniform_(0, 1, keyed_generator(random_key(9, Purpose::kTest, {32, key}), at::kCPU));
}

TEST(SemanticSampler, IsUnbiased) {
  const std::int64_t m = 3, n = 4, samples = 10000;
  const at::Tensor alike = draw({14}, {m, n});
  for (const auto absent : kConventions) {
    const at::Tensor exact = one_picture(alike, {absent});
    const auto largest_z = [&](const at::Tensor& draws) {
      const at::Tensor each = sampled_semantic_interactions(alike, draws, {absent});
      return ((each.mean(2) - exact) / (each.std(2) / 100)).abs().max().item<double>();
    };
    const at::Tensor draws = semantic_draws(1, {m, n, samples, m + n - 1});
    const double z = largest_z(draws);
    std::cout << "|z| " << z << "\n";
    EXPECT_LT(z, 4);
    // The mistake: sizes as of players that are each in with probability 1/2, 5 of them.
    const at::Tensor half = draws.clone();
    half.select(3, 0).copy_(((semantic_draws(2, {5, m, n, samples}) < 0.5).sum(0).to(at::kDouble) + 0.5) / 6);
    EXPECT_GT(largest_z(half), 10);
  }
}

TEST(SemanticSampler, IsTheEstimateByHand) {
  // 2 regions, 2 phrases; pair (0, 1): the others are region 1 and phrase 0, in this order.
  const at::Tensor alike = draw({15}, {2, 2});
  const Matrix a = as_matrix(alike);
  for (const auto absent : kConventions) {
    const auto value = [&](const std::vector<bool>& in) { return plain_value(a, in, {absent}); };
    const auto estimate = [&](double size, double region, double phrase) {
      const at::Tensor draws = at::tensor({size, region, phrase}, at::kDouble).view({1, 1, 1, 3}).expand({2, 2, 1, 3});
      return sampled_semantic_interactions(alike, draws, {absent})[0][1][0].item<double>();
    };
    const double none = value({true, false, false, true});
    const double with_region = value({true, true, false, true}) - value({false, true, false, true});
    const double with_phrase = value({true, false, true, true}) - value({true, false, true, false});
    const double with_both = value({true, true, true, true}) - value({true, true, true, false}) -
                             value({false, true, true, true}) + value({false, true, true, false});
    EXPECT_NEAR(estimate(0.2, 0.1, 0.9), none, 1e-15);
    EXPECT_NEAR(estimate(0.5, 0.1, 0.9), with_region, 1e-15);
    EXPECT_NEAR(estimate(0.5, 0.9, 0.1), with_phrase, 1e-15);
    EXPECT_NEAR(estimate(0.9, 0.9, 0.1), with_both, 1e-15);
    EXPECT_NEAR(estimate(1.0, 0.9, 0.1), with_both, 1e-15);  // the end of the range
  }
  EXPECT_EQ(sampled_semantic_interactions(at::ones({1, 1}), at::zeros({1, 1, 3, 1})).sum().item<double>(), 3);
}

TEST(SemanticSampler, InstabilityFallsWithSamples) {
  const std::int64_t m = 10, n = 6, runs = 16, most = 1000;
  at::Tensor alike = draw({16}, {m, n}) * 0.5;
  alike.diagonal().add_(6);  // each phrase means one region
  std::vector<at::Tensor> each;
  for (std::int64_t run = 0; run < runs; ++run)
    each.push_back(sampled_semantic_interactions(alike, semantic_draws(100 + run, {m, n, most, m + n - 1})));
  std::vector<double> meant;
  for (const std::int64_t samples : {50, 200, 500, 1000}) {
    std::vector<at::Tensor> all, pairs;
    for (const auto& run : each) {
      all.push_back(run.narrow(2, 0, samples).mean(2).flatten());
      pairs.push_back(run.narrow(2, 0, samples).mean(2).diagonal());
    }
    meant.push_back(instability(at::stack(pairs)));
    std::cout << "instability at " << samples << " samples: " << meant.back() << " of the pairs that are meant, "
              << instability(at::stack(all)) << " of all\n";
  }
  EXPECT_TRUE(std::is_sorted(meant.rbegin(), meant.rend()));
  EXPECT_NEAR(meant[0] / meant[3], std::sqrt(20.0), 1.5);  // as a mean of independent samples
  EXPECT_LT(meant[2], 0.06);                               // the paper's figure 3
}

TEST(SemanticGame, RefusesWhatDoesNotFit) {
  const at::Tensor alike = at::zeros({2, 3, 4});
  const auto counts = [](std::initializer_list<std::int64_t> of) {
    return at::tensor(std::vector<std::int64_t>(of), at::kLong);
  };
  EXPECT_THROW(semantic_interactions(alike[0], {}, {}), c10::Error);
  EXPECT_THROW(semantic_interactions(alike.to(at::kLong), {}, {}), c10::Error);
  EXPECT_THROW(semantic_interactions(alike, counts({5, 1}), {}), c10::Error);
  EXPECT_THROW(semantic_interactions(alike, {}, counts({-1, 1})), c10::Error);
  EXPECT_THROW(semantic_interactions(alike, counts({1}), {}), c10::Error);
  EXPECT_THROW(semantic_interactions(alike, {}, {}, {.temperature = 0}), c10::Error);
  EXPECT_THROW(semantic_interactions(at::zeros({1, 17, 2}), {}, {}, {AbsentPlayers::kRenormalised}), c10::Error);
  EXPECT_THROW(semantic_interactions(at::zeros({1, 999, 2}), {}, {}), c10::Error);
  EXPECT_TRUE(one_picture(draw({17}, {700, 300}), {}).isfinite().all().item<bool>());
  EXPECT_THROW(sampled_semantic_interactions(alike[0], at::zeros({3, 4, 5, 5})), c10::Error);
  EXPECT_THROW(sampled_semantic_interactions(alike[0].narrow(0, 0, 0), at::zeros({0, 4, 5, 3})), c10::Error);
}

}  // namespace
}  // namespace triptych

// The sampler of regions on small games whose every coalition can be valued.
#include "losses/token_game.h"

#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "losses/shapley.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

at::Generator token_draws(std::uint64_t key) {
  return keyed_generator(random_key(9, Purpose::kTest, {31, key}), at::kCPU);
}

/// Two layers on what is present, and unit length.
struct ToyGame {
  std::int64_t cells, words;
  at::Tensor image_in, image_out, text_in, text_out;
  ToyGame(std::uint64_t key, std::int64_t cell_count, std::int64_t word_count)
      : cells(cell_count),
        words(word_count),
        image_in(draw({key, 1}, {cells, 12})),
        image_out(draw({key, 2}, {12, 6})),
        text_in(draw({key, 3}, {words, 12})),
        text_out(draw({key, 4}, {12, 6})) {}
  static at::Tensor encoded(const at::Tensor& keep, const at::Tensor& in, const at::Tensor& out) {
    return unit((keep.to(at::kDouble).mm(in) + 0.5).tanh().mm(out) + 0.3);
  }
  at::Tensor image(const at::Tensor& keep) const { return encoded(keep, image_in, image_out); }
  at::Tensor text(const at::Tensor& keep) const { return encoded(keep, text_in, text_out); }
  MaskedEmbedding image_value() const {
    return [this](const at::Tensor& keep) { return image(keep); };
  }
  MaskedEmbedding text_value() const {
    return [this](const at::Tensor& keep) { return text(keep); };
  }
  /// Of all players, cells first.
  at::Tensor exact(const at::Tensor& region_rc) const {
    const CoalitionValue value = [this](const at::Tensor& keep) {
      return (image(keep.narrow(1, 0, cells)) * text(keep.narrow(1, cells, words))).sum(1);
    };
    std::vector<at::Tensor> each;
    for (std::int64_t r = 0; r < region_rc.size(0); ++r)
      each.push_back(block_interaction(value, at::cat({region_rc[r], at::zeros({words}, at::kBool)})));
    return at::stack(each);
  }
};

at::Tensor some_regions() {
  return at::tensor({1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1}).view({3, 5}).to(at::kBool);
}

constexpr std::int64_t kRuns = 1250, kCoalitions = 8, kLarge = 1 << 20;

enum class Texts { kAll, kDrawn };

struct Trial {
  CoalitionSampler sampler = CoalitionSampler::kNaive;
  Texts texts = Texts::kAll;
  std::int64_t members = 0;
  bool banzhaf = false;  ///< the mistake
};

/// Largest |z| over regions of the mean of 1250 independent runs of 8 coalitions, 10 000 in all.
double largest_z(const ToyGame& game, const Trial& trial, std::uint64_t key) {
  const at::Tensor region = some_regions();
  const auto draws = token_draws(key);
  std::vector<at::Tensor> keep, share;
  for (std::int64_t run = 0; run < kRuns; ++run) {
    Coalitions drawn = draw_coalitions(trial.sampler, kCoalitions, game.cells, draws);
    if (trial.banzhaf) {
      drawn.share_K.fill_(0.5);
      drawn.keep_Kn = at::empty({kCoalitions, game.cells}).uniform_(0, 1, draws) < 0.5;
    }
    keep.push_back(drawn.keep_Kn);
    share.push_back(drawn.share_K);
  }
  const at::Tensor text = expected_embeddings(game.text_value(), game.words, at::cat(share),
                                              trial.texts == Texts::kAll ? kLarge : 1, 2, draws);
  const auto sampled =
      sample_regions(game.image_value(), at::cat(keep), text, region, trial.members, 256, shared_draws(draws));
  EXPECT_LE(sampled.image_forwards, 1 << game.cells);
  const at::Tensor runs = sampled.each_rK.unflatten(1, {kRuns, kCoalitions}).mean(2);
  const at::Tensor z =
      (runs.mean(1) - game.exact(region)) / (runs.std(1, true) / std::sqrt(static_cast<double>(kRuns)));
  return z.abs().max().item<double>();
}

TEST(TokenGame, WithDrawsOfItsOwnARegionIsWorthTheSameAloneAndAmongOthers) {
  const ToyGame game(1, 5, 3);
  const at::Tensor region = some_regions();
  const auto draws = token_draws(31);
  const Coalitions drawn = draw_coalitions(CoalitionSampler::kNaive, 6, game.cells, draws);
  const at::Tensor text = expected_embeddings(game.text_value(), game.words, drawn.share_K, kLarge, 2, draws);
  const auto of = [&](std::int64_t first, std::int64_t count, bool own) {
    const auto shared = token_draws(40);
    const RegionDraws draws_of = [&](std::int64_t r) {
      return own ? token_draws(40 + static_cast<std::uint64_t>(first + r)) : shared;
    };
    return sample_regions(game.image_value(), drawn.keep_Kn, text, region.narrow(0, first, count), 1, 64, draws_of)
        .each_rK;
  };
  const std::int64_t last = region.size(0) - 1;
  EXPECT_TRUE(at::equal(of(0, last + 1, true)[last], of(last, 1, true)[0]));
  EXPECT_FALSE(at::equal(of(0, last + 1, false)[last], of(last, 1, false)[0])) << "the control";
}

constexpr CoalitionSampler kSamplers[] = {CoalitionSampler::kNaive, CoalitionSampler::kStratified,
                                          CoalitionSampler::kAntithetic};

TEST(TokenGame, SamplersAreUnbiased) {
  const ToyGame game(1, 5, 3);
  std::uint64_t key = 0;
  for (const auto sampler : kSamplers) {
    for (const auto texts : {Texts::kAll, Texts::kDrawn}) {
      for (const std::int64_t members : {0, 1, 2}) {
        const double z = largest_z(game, {sampler, texts, members}, ++key);
        std::cout << "sampler " << static_cast<int>(sampler) << " texts " << static_cast<int>(texts) << " members "
                  << members << ": |z| " << z << "\n";
        EXPECT_LT(z, 4);
      }
    }
  }
}

TEST(TokenGame, OneHalfThroughoutIsAnotherIndex) {
  EXPECT_GT(largest_z(ToyGame(1, 5, 3), {.banzhaf = true}, 77), 10);
}

TEST(TokenGame, SizesAreUniform) {
  // Sizes of the coalition among any 4 of 9 players: chi-square with 4 degrees of freedom, above 24 once in 12000.
  const std::int64_t count = 20000;
  const auto chi_square = [&](const at::Tensor& keep) {
    const at::Tensor among = keep.index_select(1, at::tensor({0, 3, 4, 8}, at::kLong)).sum(1);
    const at::Tensor off = at::bincount(among, {}, 5).to(at::kDouble) - count / 5.0;
    return (off * off).sum().item<double>() / (count / 5.0);
  };
  for (const auto sampler : kSamplers)
    EXPECT_LT(chi_square(draw_coalitions(sampler, count, 9, token_draws(3)).keep_Kn), 24);
  EXPECT_GT(chi_square(at::empty({count, 9}).uniform_(0, 1, token_draws(3)) < 0.5), 1000);
}

TEST(TokenGame, SharesAreSpreadAndPairsAreComplements) {
  const std::int64_t count = 4000, half = count / 2;
  for (const auto sampler : kSamplers) {
    const Coalitions drawn = draw_coalitions(sampler, count, 6, token_draws(4));
    ASSERT_EQ(drawn.keep_Kn.sizes(), at::IntArrayRef({count, 6}));
    // Each player by its share: 24 000 of them, their variance at most 1/4 each.
    const at::Tensor off = drawn.keep_Kn.to(at::kDouble).sum(0) - drawn.share_K.sum();
    EXPECT_LT(off.abs().max().item<double>(), 5 * std::sqrt(0.25 * count));
    if (sampler == CoalitionSampler::kStratified) {
      const at::Tensor place = drawn.share_K * count - at::arange(count);
      EXPECT_GE(place.min().item<double>(), 0);
      EXPECT_LT(place.max().item<double>(), 1);
    }
    const at::Tensor other = drawn.keep_Kn.narrow(0, half, half).logical_not();
    EXPECT_EQ(at::equal(drawn.keep_Kn.narrow(0, 0, half), other), sampler == CoalitionSampler::kAntithetic);
    if (sampler == CoalitionSampler::kAntithetic) {
      EXPECT_LT(difference(drawn.share_K.narrow(0, half, half), 1 - drawn.share_K.narrow(0, 0, half)), 1e-15);
      const at::Tensor place = drawn.share_K.narrow(0, 0, half) * half - at::arange(half);
      EXPECT_GE(place.min().item<double>(), 0);
      EXPECT_LT(place.max().item<double>(), 1);
    }
  }
}

/// Equation 7 for one region and coalition, term by term.
double plain_estimate(const ToyGame& game, const at::Tensor& keep_c, const at::Tensor& text_d,
                      const at::Tensor& region_c) {
  const auto value = [&](const at::Tensor& mask) {
    return game.image(mask.unsqueeze(0))[0].dot(text_d).item<double>();
  };
  const at::Tensor s = keep_c.logical_and(region_c.logical_not());
  double estimate = value(s.logical_or(region_c)) + (region_c.sum().item<double>() - 1) * value(s);
  for (std::int64_t x = 0; x < game.cells; ++x) {
    if (!region_c[x].item<bool>()) continue;
    at::Tensor one = s.clone();
    one[x] = true;
    estimate -= value(one);
  }
  return estimate;
}

TEST(TokenGame, EstimatesAreEquationSeven) {
  const ToyGame game(2, 7, 3);
  const std::int64_t count = 6;
  at::Tensor region = draw({88}, {5, 7}) < 0;
  region[4].fill_(false);
  region[4][2] = true;  // one cell: nothing to be worth together
  const at::Tensor keep = draw_coalitions(CoalitionSampler::kStratified, count, 7, token_draws(9)).keep_Kn;
  const at::Tensor text = draw({8}, {count, 6});
  std::set<std::string> distinct;
  const auto note = [&](const at::Tensor& mask) {
    std::string bits;
    for (std::int64_t c = 0; c < 7; ++c) bits += mask[c].item<bool>() ? '1' : '0';
    distinct.insert(bits);
  };
  for (const std::int64_t rows : {1, 3, 256}) {
    std::int64_t forwards = 0, most = 0;
    const auto counted = [&](const at::Tensor& mask) {
      forwards += mask.size(0);
      most = std::max(most, mask.size(0));
      return game.image(mask);
    };
    const auto sampled = sample_regions(counted, keep, text, region, 0, rows, shared_draws(token_draws(1)));
    ASSERT_EQ(sampled.each_rK.sizes(), at::IntArrayRef({5, count}));
    for (std::int64_t r = 0; r < 5; ++r) {
      for (std::int64_t k = 0; k < count; ++k) {
        EXPECT_NEAR(sampled.each_rK[r][k].item<double>(), plain_estimate(game, keep[k], text[k], region[r]), 1e-12);
        const at::Tensor s = keep[k].logical_and(region[r].logical_not());
        if (r != 4) note(s);
        note(s.logical_or(region[r]));
        for (std::int64_t x = 0; x < 7; ++x) {
          at::Tensor one = s.clone();
          one[x] = true;
          if (region[r][x].item<bool>()) note(one);
        }
      }
    }
    EXPECT_EQ(sampled.each_rK[4].abs().max().item<double>(), 0);
    EXPECT_EQ(sampled.image_forwards, static_cast<std::int64_t>(distinct.size()));
    EXPECT_EQ(forwards, sampled.image_forwards);
    EXPECT_LE(most, rows);
  }
}

TEST(TokenGame, ProductsAreNotRoundedUnderAutocast) {
  const ToyGame game(2, 7, 3);
  const at::Tensor keep = draw_coalitions(CoalitionSampler::kNaive, 8, 7, token_draws(9)).keep_Kn,
                   region = at::tensor({1, 1, 1, 0, 0, 0, 1}).view({1, 7}).to(at::kBool);
  const auto image = [&](const at::Tensor& mask) {
    const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset);
    return game.image(mask).to(at::kFloat);
  };
  const auto text = [&](const at::Tensor& mask) {
    const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset);
    return game.text(mask).to(at::kFloat);
  };
  const auto estimates = [&] {
    const at::Tensor text_Kd = expected_embeddings(text, 3, at::linspace(0, 1, 8, at::kDouble), 8, 1, token_draws(2));
    return sample_regions(image, keep, text_Kd, region, 0, 64, shared_draws(token_draws(1))).each_rK;
  };
  const at::Tensor exact = estimates();
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor got = estimates();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_LT(difference(got, exact), 1e-5);
}

TEST(TokenGame, MembersAreDrawnEvenlyAndScaledUp) {
  const ToyGame game(3, 6, 2);
  const std::int64_t count = 6000;
  const at::Tensor keep = at::tensor({1, 0, 1, 0, 0, 1}).view({1, 6}).to(at::kBool).expand({count, 6}),
                   text = draw({9}, {1, 6}).expand({count, 6}),
                   region = at::tensor({0, 1, 1, 0, 1, 0}).view({1, 6}).to(at::kBool);
  const auto value = [&](const std::vector<int>& mask) {
    return game.image(at::tensor(mask).view({1, 6}).to(at::kBool))[0].dot(text[0]).item<double>();
  };
  const double outer = value({1, 1, 1, 0, 1, 1}) + 2 * value({1, 0, 0, 0, 0, 1});
  const double one = value({1, 1, 0, 0, 0, 1}), two = value({1, 0, 1, 0, 0, 1}), four = value({1, 0, 0, 0, 1, 1});
  const std::vector<std::vector<double>> possible = {
      {outer - one - two - four},
      {outer - 3 * one, outer - 3 * two, outer - 3 * four},
      {outer - 1.5 * (one + two), outer - 1.5 * (one + four), outer - 1.5 * (two + four)},
      {outer - one - two - four},
      {outer - one - two - four}};
  for (std::int64_t members = 0; members < 5; ++members) {
    const at::Tensor each =
        sample_regions(game.image_value(), keep, text, region, members, 64, shared_draws(token_draws(5))).each_rK[0];
    double all = 0;
    for (const double estimate : possible[members]) {
      const double seen = (each - estimate).abs().lt(1e-12).sum().item<double>();
      const double choices = static_cast<double>(possible[members].size());
      EXPECT_NEAR(seen, count / choices, choices > 1 ? 5 * std::sqrt(count * 2.0 / 9) : 0) << members;
      all += seen;
    }
    EXPECT_EQ(all, count) << members;
  }
}

TEST(TokenGame, ExpectedTextsAreTheSumOverSets) {
  const ToyGame game(4, 2, 4);
  const at::Tensor p = at::tensor({0.0, 0.3, 0.5, 1.0}, at::kDouble);
  std::int64_t calls = 0;
  const auto counted = [&](const at::Tensor& keep) {
    ++calls;
    return game.text(keep);
  };
  const at::Tensor exact = expected_embeddings(counted, 4, p, 16, 1, token_draws(11));
  EXPECT_EQ(calls, 1);
  for (std::int64_t k = 0; k < 4; ++k) {
    at::Tensor plain = at::zeros({6}, at::kDouble);
    for (int set = 0; set < 16; ++set) {
      double weight = 1;
      at::Tensor keep = at::zeros({1, 4}, at::kBool);
      for (int w = 0; w < 4; ++w) {
        const bool in = (set >> w & 1) != 0;
        keep[0][w] = in;
        weight *= in ? p[k].item<double>() : 1 - p[k].item<double>();
      }
      plain += weight * game.text(keep)[0];
    }
    EXPECT_LT(difference(exact[k], plain), 1e-12);
  }
  // One set too many, and they are drawn: at p of 0 and 1 that is exact, too.
  const at::Tensor drawn = expected_embeddings(counted, 4, p, 15, 3, token_draws(11));
  EXPECT_EQ(calls, 2);
  EXPECT_LT(difference(drawn[0], exact[0]), 1e-12);
  EXPECT_LT(difference(drawn[3], exact[3]), 1e-12);
  EXPECT_GT(difference(drawn[1], exact[1]), 1e-3);
  const at::Tensor many = expected_embeddings(counted, 4, p, 15, 100000, token_draws(12));
  EXPECT_LT(difference(many, exact), 0.01);
  // A caption without words has one set.
  const auto empty = [](const at::Tensor& keep) { return at::ones({keep.size(0), 2}, at::kDouble); };
  EXPECT_TRUE(at::equal(expected_embeddings(empty, 0, p, 1, 1, token_draws(1)), at::ones({4, 2}, at::kDouble)));
}

TEST(TokenGame, SpreadCoalitionsAreSteadier) {
  const ToyGame game(5, 16, 6);
  const at::Tensor cell = at::arange(16).unsqueeze(0), region = (cell % 4 < 2).logical_and(cell < 12);
  constexpr std::int64_t kRepeats = 60, kEach = 64;
  const auto unsteadiness = [&](CoalitionSampler sampler, std::int64_t most_enumerated) {
    std::vector<at::Tensor> estimates;
    std::int64_t forwards = 0;
    for (std::int64_t run = 0; run < kRepeats; ++run) {
      const auto draws = token_draws(900 + run);
      const Coalitions drawn = draw_coalitions(sampler, kEach, 16, draws);
      const at::Tensor text = expected_embeddings(game.text_value(), 6, drawn.share_K, most_enumerated, 1, draws);
      const auto sampled = sample_regions(game.image_value(), drawn.keep_Kn, text, region, 0, 256, shared_draws(draws));
      estimates.push_back(sampled.each_rK.mean(1));
      forwards += sampled.image_forwards;
    }
    const double got = instability(at::stack(estimates));
    std::cout << "sampler " << static_cast<int>(sampler) << (most_enumerated > 1 ? ", all texts" : ", one text")
              << ": instability " << got << " at " << forwards / kRepeats << " image forwards\n";
    return got;
  };
  const double naive = unsteadiness(CoalitionSampler::kNaive, 1);
  EXPECT_LT(unsteadiness(CoalitionSampler::kStratified, 64), naive);
  EXPECT_LT(unsteadiness(CoalitionSampler::kAntithetic, 64), naive);
}

TEST(TokenGame, RefusesWhatDoesNotFit) {
  const ToyGame game(6, 5, 3);
  const at::Tensor keep = at::ones({2, 5}, at::kBool), text = draw({1}, {2, 6}), region = some_regions();
  const auto image = game.image_value();
  const auto draws = token_draws(1);
  EXPECT_THROW(sample_regions(image, keep.to(at::kFloat), text, region, 0, 8, shared_draws(draws)), c10::Error);
  EXPECT_THROW(sample_regions(image, keep, text, region.narrow(1, 0, 4), 0, 8, shared_draws(draws)), c10::Error);
  EXPECT_THROW(sample_regions(image, keep, text.narrow(0, 0, 1), region, 0, 8, shared_draws(draws)), c10::Error);
  EXPECT_THROW(sample_regions(image, keep, text.narrow(1, 0, 5), region, 0, 8, shared_draws(draws)), c10::Error);
  EXPECT_THROW(sample_regions(image, keep, text, region, 0, 0, shared_draws(draws)), c10::Error);
  EXPECT_THROW(sample_regions(image, keep, text, at::zeros({1, 5}, at::kBool), 0, 8, shared_draws(draws)), c10::Error);
  EXPECT_THROW(draw_coalitions(CoalitionSampler::kAntithetic, 3, 5, draws), c10::Error);
  EXPECT_THROW(draw_coalitions(CoalitionSampler::kNaive, 0, 5, draws), c10::Error);
}

TEST(HalfSpread, ComparesHalvesThatTakeTurns) {
  const at::Tensor each = at::tensor({1.0, 10.0, 3.0, 2.0, 5.0, 6.0}, at::kDouble).unsqueeze(0);  // 6 coalitions
  const auto of = [](const at::Tensor& each_rK, CoalitionSampler sampler) {
    return half_spread(each_rK, sampler)[0].item<double>();
  };
  for (const auto sampler : {CoalitionSampler::kNaive, CoalitionSampler::kStratified})
    EXPECT_NEAR(of(each, sampler), std::abs(9.0 / 3 - 18.0 / 3) / std::sqrt(2.0), 1e-12);  // 1, 3, 5 and 10, 2, 6
  // Pairs 1 with 2, 10 with 5, 3 with 6: means 1.5, 7.5, 4.5, of which two are compared.
  EXPECT_NEAR(of(each, CoalitionSampler::kAntithetic), 6 * std::sqrt(1.0 / 3), 1e-12);
  EXPECT_EQ(of(each.slice(1, 0, 1), CoalitionSampler::kNaive), 0) << "one coalition has no halves";
  EXPECT_EQ(of(each.slice(1, 0, 2), CoalitionSampler::kAntithetic), 0) << "nor has one pair";
}

/// Its mean is that of the difference of two estimates.
TEST(HalfSpread, IsTheDifferenceOfTwoEstimates) {
  constexpr std::int64_t kEstimates = 20000;
  const at::Tensor one = draw({91}, {kEstimates, 8}) + 0.4, other = draw({92}, {kEstimates, 8}) + 0.4;
  const double apart = (one.mean(1) - other.mean(1)).abs().mean().item<double>();
  EXPECT_NEAR(half_spread(one, CoalitionSampler::kNaive).mean().item<double>(), apart, 0.02 * apart);
}

}  // namespace
}  // namespace triptych

// Interactions sampled on real towers against their definition: every coalition of cells and words, encoded one by one.
#include "core/objective/region_game.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/model/image_preprocess.h"
#include "core/objective/embedding.h"
#include "losses/shapley.h"
#include "tests/objective/tiny_loupe.h"

namespace triptych {
namespace {

constexpr std::int64_t kGameCells = 4;  // 2 x 2
constexpr std::int64_t kGameRuns = 150;

/// What happens to a word that is absent. kZero is LOUPE's rule here; the others are mistakes.
enum class Absent { kZero, kUnseen, kWithEnd };

/// The tower's tokens of each cell of the 2 x 2 grid: a swin's cell is 2 x 2 of its 4 x 4 patches, a vit's its one
/// patch, behind the class token.
using TokensOfCells = std::vector<std::vector<std::int64_t>>;
const TokensOfCells kSwinCells = {{0, 1, 4, 5}, {2, 3, 6, 7}, {8, 9, 12, 13}, {10, 11, 14, 15}};
const TokensOfCells kVitCells = {{1}, {2}, {3}, {4}};

/// A picture, a caption of three words, and the value of each coalition of theirs.
class PlainGame {
 public:
  explicit PlainGame(const LoupeModel& model, std::int64_t padding = 0, const TokensOfCells& cells = kSwinCells)
      : model_(model), cells_(cells) {
    const c10::NoGradGuard no_grad;
    tokens_ = at::cat({at::tensor({2, 7, 19, 31, 3}, at::kLong), at::zeros({padding}, at::kLong)}).unsqueeze(0);
    const Batch batch = loupe_batch(1, 8);
    embedded_ = model.visual().embedded(normalise_images(batch.images.select(1, 0), tiny_facts(), at::kDouble), {});
  }
  PictureGame game(const at::Tensor& region_rk) const { return {embedded_, tokens_, region_rk}; }

  /// Equation 4 by enumeration of all coalitions of players.
  at::Tensor exact(const at::Tensor& region_rk, Absent absent) const {
    const c10::NoGradGuard no_grad;
    const std::int64_t words = absent == Absent::kWithEnd ? 4 : 3;
    const CoalitionValue value = [&](const at::Tensor& keep) {
      at::Tensor values = at::empty({keep.size(0)}, at::kDouble);
      for (std::int64_t c = 0; c < keep.size(0); ++c)
        values[c] = picture(keep[c].narrow(0, 0, kGameCells))
                        .dot(text(keep[c].narrow(0, kGameCells, words), absent == Absent::kUnseen));
      return values;
    };
    std::vector<at::Tensor> each;
    for (std::int64_t r = 0; r < region_rk.size(0); ++r)
      each.push_back(block_interaction(value, at::cat({region_rk[r], at::zeros({words}, at::kBool)})));
    return at::stack(each);
  }

 private:
  at::Tensor picture(const at::Tensor& keep) const {
    at::Tensor present = embedded_.clone();
    for (std::int64_t cell = 0; cell < kGameCells; ++cell) {
      if (keep[cell].item<bool>()) continue;
      for (const auto token : cells_[static_cast<std::size_t>(cell)]) present[0][token].fill_(0);
    }
    const auto states = model_.visual().encoded(present, {});
    return unit(model_.visual().project(states.feature_nd))[0];
  }
  at::Tensor text(const at::Tensor& words, bool unseen) const {
    at::Tensor present = model_.text().embedded(tokens_, {}).clone(), tokens = tokens_.clone();
    for (std::int64_t w = 0; w < words.size(0); ++w) {
      if (words[w].item<bool>()) continue;
      if (unseen) tokens[0][1 + w] = 0;  // as if it were padding
      present[0][1 + w].fill_(0);
    }
    const at::Tensor states = model_.text().encoded(present, tokens, {});
    return unit(model_.text().project(states.select(1, 0)))[0];
  }

  const LoupeModel& model_;
  TokensOfCells cells_;
  at::Tensor tokens_, embedded_;
};

at::Tensor game_regions() {
  return at::tensor({1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1}, at::kLong).view({3, 4}).to(at::kBool);
}

LoupeConfig game_config(const std::string& sampler, std::int64_t members, std::int64_t most_enumerated) {
  LoupeConfig config = tiny_loupe();
  config.tokens.sampler = sampler;
  config.tokens.coalitions = 8;
  config.tokens.members = members;
  config.tokens.most_enumerated = most_enumerated;
  return config;
}

std::unique_ptr<LoupeModel> game_model(const ModelConfig& model = tiny_loupe_model(8)) {
  LoupeObjective objective(tiny_loupe(), model, tiny_facts(), in_fp64());
  disturb_loupe(objective);
  return loupe_copy(tiny_loupe(), loupe_state(objective), model, kGameCells);
}

at::Generator game_draws(std::uint64_t key) {
  return keyed_generator(random_key(9, Purpose::kTest, {42, key}), at::kCPU);
}

/// [regions, runs]: each run 8 coalitions.
at::Tensor game_runs(const LoupeModel& model, const LoupeConfig& config, const PictureGame& game, std::uint64_t key) {
  const c10::NoGradGuard no_grad;
  const auto draws = game_draws(key);
  std::vector<at::Tensor> runs;
  for (std::int64_t run = 0; run < kGameRuns; ++run)
    runs.push_back(sample_interactions(model, config, game, draws, shared_draws(draws), {}).each_rK.mean(1));
  return at::stack(runs, 1);
}

/// Largest |z| of the mean over runs.
double game_z(const at::Tensor& runs, const at::Tensor& exact) {
  const at::Tensor error = runs.std(1, true) / std::sqrt(static_cast<double>(kGameRuns));
  return ((runs.mean(1) - exact) / error).abs().max().item<double>();
}

TEST(RegionGame, TheSamplerIsRightInTheMean) {
  const auto model = game_model();
  const PlainGame plain(*model);
  const at::Tensor exact = plain.exact(game_regions(), Absent::kZero);
  EXPECT_GT(exact.abs().min().item<double>(), 1e-3);
  std::uint64_t key = 0;
  for (const char* sampler : {"naive", "stratified", "antithetic"}) {
    for (const std::int64_t members : {0, 1}) {
      for (const std::int64_t most_enumerated : {8, 1}) {  // all coalitions of 3 words, or some
        const at::Tensor runs =
            game_runs(*model, game_config(sampler, members, most_enumerated), plain.game(game_regions()), ++key);
        const double z = game_z(runs, exact);
        EXPECT_LT(z, 4) << sampler << " " << members << " " << most_enumerated;
        RecordProperty(std::string(sampler) + std::to_string(members) + std::to_string(most_enumerated),
                       std::to_string(z));
      }
    }
  }
}

/// Controls: other rules for what is absent, and for who plays, are other games.
TEST(RegionGame, AnotherRuleForAbsentWordsIsNoticed) {
  const auto model = game_model();
  const PlainGame plain(*model);
  const at::Tensor runs = game_runs(*model, game_config("antithetic", 0, 8), plain.game(game_regions()), 50);
  EXPECT_LT(game_z(runs, plain.exact(game_regions(), Absent::kZero)), 4);
  EXPECT_GT(game_z(runs, plain.exact(game_regions(), Absent::kUnseen)), 8);
  EXPECT_GT(game_z(runs, plain.exact(game_regions(), Absent::kWithEnd)), 8);
}

/// The class token is no player: absent cells of a vit are those behind it.
TEST(RegionGame, CellsOfAVitLieBehindItsClassToken) {
  auto vit = tiny_loupe_model(8);
  vit.image = VitConfig{.image_size = 8, .patch_size = 4, .width = 12, .depth = 2, .heads = 3};
  const auto model = game_model(vit);
  const PlainGame plain(*model, 0, kVitCells);
  for (const char* sampler : {"naive", "antithetic"}) {
    const at::Tensor runs = game_runs(*model, game_config(sampler, 0, 8), plain.game(game_regions()), 55);
    EXPECT_LT(game_z(runs, plain.exact(game_regions(), Absent::kZero)), 4) << sampler;
    const PlainGame shifted(*model, 0, {{0}, {1}, {2}, {3}});
    EXPECT_GT(game_z(runs, shifted.exact(game_regions(), Absent::kZero)), 8) << sampler << ": from the class token on";
  }
}

TEST(RegionGame, PaddingChangesNothing) {
  const auto model = game_model();
  const c10::NoGradGuard no_grad;
  for (const std::int64_t most_enumerated : {8, 1}) {
    const auto config = game_config("stratified", 1, most_enumerated);
    const auto sampled = [&](std::int64_t padding) {
      return sample_interactions(*model, config, PlainGame(*model, padding).game(game_regions()), game_draws(60),
                                 shared_draws(game_draws(60)), {});
    };
    const auto bare = sampled(0), padded = sampled(4);
    EXPECT_LT(difference(bare.each_rK, padded.each_rK), 1e-13);
    EXPECT_EQ(bare.image_forwards, padded.image_forwards);
    EXPECT_LE(bare.image_forwards, 16);
  }
}

TEST(RegionGame, OneCellOrNoWordsAreDefined) {
  const auto model = game_model();
  const c10::NoGradGuard no_grad;
  const auto config = game_config("antithetic", 2, 8);
  const PlainGame plain(*model);
  const at::Tensor one = at::eye(4).to(at::kBool).narrow(0, 2, 1);
  const auto alone =
      sample_interactions(*model, config, plain.game(one), game_draws(70), shared_draws(game_draws(70)), {});
  EXPECT_LT(alone.each_rK.abs().max().item<double>(), 1e-13);  // nobody to interact with
  PictureGame game = plain.game(game_regions());
  for (const auto& tokens : {at::tensor({2, 3}, at::kLong), at::tensor({2}, at::kLong)}) {
    game.tokens_1l = tokens.unsqueeze(0);
    const at::Tensor each =
        sample_interactions(*model, config, game, game_draws(71), shared_draws(game_draws(71)), {}).each_rK;
    EXPECT_TRUE(each.isfinite().all().item<bool>());
    EXPECT_GT(each.abs().max().item<double>(), 1e-4);  // cells still meet a text
  }
}

TEST(RegionGame, WordsAreNeitherPaddingNorMarks) {
  const at::Tensor tokens = at::tensor({2, 5, 3, 9, 0, 0}, at::kLong);
  EXPECT_TRUE(at::equal(is_word(tokens, 2, 3), at::tensor({0, 1, 0, 1, 0, 0}, at::kLong).to(at::kBool)));
}

/// What the objective plays in a step of training: towers without dropout, which train on.
TEST(RegionGame, AModelInTrainingModePlaysWithoutDropoutAndIsLeftSo) {
  run_ranks(1, [](Collectives& comm) {
    auto model = tiny_loupe_model();
    std::get<SwinConfig>(model.image).drop_path = 0.5;
    std::get<BertConfig>(model.text).dropout = 0.4;
    auto config = tiny_loupe("attention");
    config.unsil.warmup = 100;
    config.tokens.targets = 3;  // one picture
    LoupeObjective objective(config, model, tiny_facts(), in_fp64());
    disturb_loupe(objective);
    auto state = loupe_state(objective);
    const c10::NoGradGuard no_grad;
    state.at("unsil.tokens.moments").fill_(0);
    state.at("region_head.output.weight").fill_(0);  // boxes that no dropout changes
    state.at("region_head.output.bias").copy_(at::tensor({1.0, 1.0, 0.0}, at::kDouble));
    state.at("region_confidence.weight").fill_(0);  // equal: the regions of cells 0, 1 and 2
    const Batch batch = loupe_rows(loupe_batch(4), 2, 1);
    const auto step = [&] {
      const c10::AutoGradMode grad(true);
      StepScope scope = loupe_scope(comm);
      loupe_measured(objective, {batch}, scope);
      objective.after_update(scope);
    };
    step();
    EXPECT_TRUE(objective.module().training());
    EXPECT_FALSE(c10::GradMode::is_enabled());
    const auto copy = loupe_copy(config, state, model);
    const at::Tensor inside =
        at::zeros({3, 16}, at::kBool);  // boxes of 0.78 of the sides: 3 x 3 cells, cut at the edges
    for (std::int64_t r = 0; r < 3; ++r)
      for (std::int64_t y = 0; y < 2; ++y)
        for (std::int64_t x = std::max<std::int64_t>(r - 1, 0); x <= r + 1; ++x) inside[r][4 * y + x] = true;
    const at::Tensor tokens = batch.tokens.select(1, 0).narrow(1, 0, 8);
    const auto sums = [&](const LoupeModel& played) {
      const at::Tensor pixels = normalise_images(batch.images.select(1, 0), tiny_facts(), at::kDouble);
      ForwardScope forward;
      forward.draws = game_draws(80);
      const PictureGame game{played.visual().embedded(pixels, forward), tokens, inside};
      const auto draws = loupe_scope(comm).draws(Purpose::kCoalition, batch.first_position, at::kCPU);
      const auto members = [&](std::int64_t r) {
        return loupe_scope(comm).draws(Purpose::kMember, batch.first_position * config.regions.count + r, at::kCPU);
      };
      return RunningMoments::sums(sample_interactions(played, config, game, draws, members, forward).each_rK.mean(1));
    };
    const at::Tensor got = state.at("unsil.tokens.moments");
    EXPECT_LT(difference(got, sums(*copy)), 1e-12) << got;
    EXPECT_GT(got[2].item<double>(), 1e-6);
    copy->set_training(true);
    EXPECT_GT(difference(got, sums(*copy)), 1e-4);  // control: with dropout
  });
}

}  // namespace
}  // namespace triptych

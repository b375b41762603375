// What evaluations and explanations get of LOUPE against its formula, written plainly.
#include <gtest/gtest.h>

#include "core/model/image_preprocess.h"
#include "core/objective/loupe.h"
#include "core/objective/region_game.h"
#include "tests/objective/plain_loupe.h"

namespace triptych {
namespace {

constexpr double kEncoded = 1e-12;

/// An objective and the formula with its weights, on a batch.
struct SeenTwice {
  explicit SeenTwice(const LoupeConfig& config)
      : objective(config, tiny_loupe_model(), tiny_facts(), in_fp64()), batch(loupe_batch(kLoupeLocal)) {
    disturb_loupe(objective);
    objective.module().set_training(true);
    state = loupe_state(objective);
    model = loupe_copy(config, state);
    plain = std::make_unique<PlainLoupe>(*model, config, batch, kLoupeLocal, moments_of(state, "tokens"),
                                         moments_of(state, "phrases"));
  }
  at::Tensor images() const { return batch.images.select(1, 0); }
  PictureAndCaption pair(std::int64_t i) const {
    const Batch one = loupe_rows(batch, i, 1);
    return {one.images.select(1, 0), one.tokens.select(1, 0), one.phrases};
  }

  LoupeObjective objective;
  Batch batch;
  std::map<std::string, at::Tensor> state;
  std::unique_ptr<LoupeModel> model;
  std::unique_ptr<PlainLoupe> plain;
};

std::vector<LoupeConfig> encoder_forms() {
  std::vector<LoupeConfig> forms = {tiny_loupe("attention"), tiny_loupe(), tiny_loupe("conv", "both")};
  forms[1].image_feature = "attention";
  forms[1].regions.confidence = "token";
  forms[2].regions.membership = "hard";
  return forms;
}

TEST(LoupeEncoders, OfPicturesTextsCellsAndRegionsAreTheFormulas) {
  for (const auto& config : encoder_forms()) {
    SeenTwice seen(config);
    const auto encoders = seen.objective.encoders();
    EXPECT_LT(difference(encoders.image(seen.images()), seen.plain->images()), kEncoded);
    EXPECT_LT(difference(encoders.text(seen.batch.tokens.select(1, 0)), seen.plain->texts()), kEncoded);
    const at::Tensor cells = encoders.patches(seen.images());
    const RegionProposals regions = encoders.regions(seen.images());
    for (std::int64_t i = 0; i < kLoupeLocal; ++i) {
      const auto& row = seen.plain->rows()[static_cast<std::size_t>(i)];
      EXPECT_LT(difference(cells[i], row.cell_kd), kEncoded) << i;
      EXPECT_LT(difference(regions.box_nM4[i], row.box_m4), kEncoded) << i;
      EXPECT_LT(difference(regions.confidence_nM[i], row.logit_m.sigmoid()), kEncoded) << i;
      EXPECT_LT(difference(regions.embedding_nMd[i], row.region_md), kEncoded) << i;
    }
    EXPECT_TRUE(seen.objective.module().training()) << "left as it was";
    EXPECT_FALSE(regions.embedding_nMd.requires_grad());
  }
}

TEST(LoupeEncoders, AnExplainedPairIsTheFormulas) {
  for (const auto& config : encoder_forms()) {
    SeenTwice seen(config);
    const auto encoders = seen.objective.encoders();
    int with_phrases = 0;
    for (std::int64_t i = 0; i < kLoupeLocal; ++i) {
      const auto& row = seen.plain->rows()[static_cast<std::size_t>(i)];
      const PairGames games = encoders.explain(seen.pair(i));
      EXPECT_EQ(games.side, 4);
      EXPECT_EQ(games.words, row.is_word_l.sum().item<std::int64_t>());
      EXPECT_LT(difference(games.box_M4, row.box_m4), kEncoded) << i;
      EXPECT_LT(difference(games.confidence_M, row.logit_m.sigmoid()), kEncoded) << i;
      EXPECT_TRUE(at::equal(games.inside_Mk, row.inside_mk)) << i;
      EXPECT_LT(difference(games.cosine, seen.plain->images()[i].dot(seen.plain->texts()[i])), kEncoded) << i;
      EXPECT_LT(difference(games.cell_cosine_Tk[0], row.cell_kd.mv(seen.plain->texts()[i])), kEncoded) << i;
      if (!row.phrase_pd.defined()) continue;
      ++with_phrases;
      EXPECT_LT(difference(games.cosine_MP, row.region_md.mm(row.phrase_pd.t())), kEncoded) << i;
      EXPECT_LT(difference(games.cell_cosine_Tk.slice(0, 1), row.phrase_pd.mm(row.cell_kd.t())), kEncoded) << i;
    }
    EXPECT_GT(with_phrases, 0);
  }
}

/// The network's guess in units of the interaction, and the sampler on the regions of the picture.
TEST(LoupeEncoders, AnExplainedPairGuessesAndSamples) {
  const auto config = tiny_loupe("attention");
  SeenTwice seen(config);
  const c10::NoGradGuard no_grad;
  const std::int64_t i = 2;  // a caption of words
  const auto& row = seen.plain->rows()[i];
  const PairGames games = seen.objective.encoders().explain(seen.pair(i));
  for (std::int64_t region = 0; region < config.regions.count; ++region) {
    const UnsilOutput guess = seen.model->token_network()->forward(seen.plain->region_inputs(i, region));
    const double raw = guess.value_t[0].item<double>() * 0.03 + 0.01;  // deviation and mean, see disturb_loupe()
    EXPECT_NEAR(games.guess_M[region].item<double>(), raw, 1e-9) << region;
    EXPECT_NEAR(games.sigma_M[region].item<double>(), guess.sigma_t[0].item<double>(), 1e-9) << region;
  }
  const auto draws = [] { return keyed_generator(random_key(9, Purpose::kTest, {77}), at::kCPU); };
  const auto got = games.sample({.sampler = "naive", .coalitions = 6, .members = 0, .text_samples = 1}, draws());
  auto as_asked = config;
  as_asked.tokens.sampler = "naive";
  as_asked.tokens.coalitions = 6;
  as_asked.tokens.members = 0;
  as_asked.tokens.most_enumerated = 1;
  as_asked.tokens.text_samples = 1;
  const at::Tensor pixels = normalise_images(seen.pair(i).images, tiny_facts(), at::kDouble);
  const at::Tensor tokens = seen.batch.tokens[i].narrow(1, 0, games.words + 2);
  const auto draw_once = draws();
  const auto wanted =
      sample_interactions(*seen.model, as_asked, {seen.model->visual().embedded(pixels, {}), tokens, row.inside_mk},
                          draw_once, shared_draws(draw_once), {});
  EXPECT_LT(difference(got.each_rK, wanted.each_rK), kEncoded);
  EXPECT_EQ(got.image_forwards, wanted.image_forwards);
  EXPECT_GT(got.each_rK.abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace triptych

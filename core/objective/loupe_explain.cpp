// LOUPE's two games of one picture and its caption, for people who look.
#include <ATen/ATen.h>

#include "core/model/image_preprocess.h"
#include "core/objective/embedding.h"
#include "core/objective/loupe.h"
#include "core/objective/region_game.h"
#include "losses/semantic_game.h"

namespace triptych {
namespace {

/// The configuration under which sample_interactions() samples as `how` says.
LoupeConfig sampling_config(LoupeConfig config, const RegionSampling& how, std::int64_t words) {
  TORCH_CHECK(how.text_samples > 0 || words < 24, "2^", words, " coalitions of words; take text_samples");
  config.tokens.sampler = how.sampler;
  config.tokens.coalitions = how.coalitions;
  config.tokens.members = how.members;
  config.tokens.text_samples = how.text_samples;
  config.tokens.most_enumerated = how.text_samples > 0 ? 1 : std::int64_t{1} << words;
  return config;
}

}  // namespace

PairGames LoupeObjective::explained(const PictureAndCaption& pair) {
  TORCH_CHECK(pair.images.dim() == 4 && pair.images.size(0) == 1 && pair.tokens.dim() == 2 && pair.tokens.size(0) == 1,
              "one picture and one caption, got ", pair.images.sizes(), " and ", pair.tokens.sizes());
  const EvaluationMode mode(model_);
  const auto forward = context_.evaluation();
  const std::int64_t length = text_lengths(pair.tokens).item<std::int64_t>();
  const Batch batch;
  Rows rows{batch, pair.tokens.narrow(1, 0, length).to(context_.device),
            phrase_rows(pair.phrases, 1, length, config_.phrases.most)};
  rows.phrases.share_nPl = rows.phrases.share_nPl.to(context_.device);

  Encoded states;
  states.embedded =
      model_.visual().embedded(normalise_images(pair.images.to(context_.device), facts_, context_.parameters), forward);
  states.image = model_.visual().encoded(states.embedded, forward);
  states.text_nld = model_.text().encoded(model_.text().embedded(rows.tokens, forward), rows.tokens, forward);
  states.image_nd = unit_rows(model_.image_embedding(states.image), context_.parameters);
  states.text_nd = unit_rows(model_.text().project(states.text_nld.select(1, 0)), context_.parameters);
  const Chosen chosen = chosen_regions(states.image.cell_nkd);
  const at::Tensor phrase_Pd =
      phrase_embeddings(rows, states.text_nld)[0].narrow(0, 0, rows.phrases.count_n.item<std::int64_t>());

  PairGames games;
  games.side = model_.visual().grid();
  games.words = is_word(rows.tokens, config_.start_word, config_.end_word).sum().item<std::int64_t>();
  games.box_M4 = chosen.boxes.box_nk4[0].cpu();
  games.confidence_M = chosen.boxes.confidence_logit_nk[0].sigmoid().cpu();
  games.inside_Mk = chosen.inside_nmk[0].cpu();
  games.cosine = at::dot(states.image_nd[0], states.text_nd[0]).cpu();
  games.cosine_MP = at::mm(chosen.embedding_nmd[0], phrase_Pd.t()).cpu();
  games.cell_cosine_Tk =
      at::mm(at::cat({states.text_nd, phrase_Pd}), cell_embeddings(states.image.cell_nkd)[0].t()).cpu();
  if (const Unsil* network = model_.token_network(); network != nullptr) {
    const auto targets = at::arange(config_.regions.count, rows.tokens.options());
    const UnsilOutput guess = network->forward(region_inputs(rows, states, chosen, targets));
    games.guess_M = token_level_.moments.raw(guess.value_t).cpu();
    games.sigma_M = guess.sigma_t.cpu();
  }
  games.phrase_game = {
      .absent = config_.phrases.convention == "fixed" ? AbsentPlayers::kFixed : AbsentPlayers::kRenormalised,
      .temperature = config_.phrases.temperature};
  games.sampling = {.sampler = config_.tokens.sampler,
                    .coalitions = config_.tokens.coalitions,
                    .members = config_.tokens.members,
                    .text_samples = config_.tokens.text_samples};
  games.sample = [this, game = PictureGame{states.embedded, rows.tokens, chosen.inside_nmk[0]}, words = games.words](
                     const RegionSampling& how, const at::Generator& draws) {
    const EvaluationMode evaluation(model_);
    PictureGame asked = game;
    if (how.regions > 0) asked.region_rk = game.region_rk.slice(0, 0, how.regions);
    const auto sampled = sample_interactions(model_, sampling_config(config_, how, words), asked, draws,
                                             shared_draws(draws), context_.evaluation());
    return RegionSamples{sampled.each_rK.cpu(), sampled.image_forwards};
  };
  return games;
}

}  // namespace triptych

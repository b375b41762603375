// Cells of the image tower and words of the text tower as players.
#include "core/objective/region_game.h"

#include <ATen/ATen.h>

#include "core/model/bert_layers.h"
#include "core/objective/embedding.h"

namespace triptych {
namespace {

/// Pictures encoded at a time.
constexpr std::int64_t kMaskRows = 128;

CoalitionSampler sampler_of(const std::string& name) {
  if (name == "naive") return CoalitionSampler::kNaive;
  return name == "stratified" ? CoalitionSampler::kStratified : CoalitionSampler::kAntithetic;
}

}  // namespace

at::Tensor is_word(const at::Tensor& tokens, std::int64_t start_word, std::int64_t end_word) {
  return tokens.ne(kBertPadding).logical_and(tokens.ne(start_word)).logical_and(tokens.ne(end_word));
}

SampledInteractions sample_interactions(const LoupeModel& model, const LoupeConfig& config, const PictureGame& game,
                                        const at::Generator& draws, const RegionDraws& member_draws,
                                        const ForwardScope& scope) {
  const at::Tensor& tokens_1l = game.tokens_1l;
  const auto device = tokens_1l.device();
  const auto type = model.temperature().scalar_type();
  const at::Tensor words_1l = is_word(tokens_1l, config.start_word, config.end_word);
  const at::Tensor word_places = words_1l.squeeze(0).nonzero().squeeze(1);
  const at::Tensor text_1ld = model.text().embedded(tokens_1l, scope);

  const MaskedEmbedding image = [&](const at::Tensor& keep_mc) {
    const at::Tensor present = model.visual().with_cells(game.embedded_1ld, keep_mc.to(device));
    return unit_rows(model.image_embedding(model.visual().encoded(present, scope)), type);
  };
  const MaskedEmbedding text = [&](const at::Tensor& keep_mw) {
    const std::int64_t m = keep_mw.size(0);
    const at::Tensor present_ml = at::ones({m, tokens_1l.size(1)}, tokens_1l.options().dtype(at::kBool));
    present_ml.index_copy_(1, word_places, keep_mw.to(device));
    const at::Tensor present = text_1ld * present_ml.unsqueeze(2).to(text_1ld.scalar_type());
    const at::Tensor states = model.text().encoded(present, tokens_1l.expand({m, -1}), scope);
    return unit_rows(model.text().project(states.select(1, 0)), type);
  };
  const LoupeTokens& form = config.tokens;
  const auto sampler = sampler_of(form.sampler);
  const auto coalitions = draw_coalitions(sampler, form.coalitions, game.region_rk.size(1), draws);
  const at::Tensor text_Kd = expected_embeddings(text, word_places.size(0), coalitions.share_K, form.most_enumerated,
                                                 form.text_samples, draws);
  const auto samples =
      sample_regions(image, coalitions.keep_Kn, text_Kd, game.region_rk, form.members, kMaskRows, member_draws);
  const at::Tensor each_rK = samples.each_rK.to(device, type);
  return {each_rK, half_spread(each_rK, sampler), samples.image_forwards};
}

}  // namespace triptych

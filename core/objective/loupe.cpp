// A step: the towers on all local rows, the contrast over all ranks' rows, then each micro-batch's own games and the
// backward through its towers.
#include "core/objective/loupe.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "core/base/errors.h"
#include "core/model/image_preprocess.h"
#include "core/objective/embedding.h"
#include "core/objective/gradient_cache.h"
#include "losses/clip.h"
#include "losses/semantic_game.h"

namespace triptych {
namespace {

constexpr double kLeastTemperature = 0.01, kMostTemperature = 0.5;

/// Throws ConfigError where a game of all regions and phrases is too large to be solved exactly.
void check_phrase_game(const LoupeConfig& config) {
  if (config.phrases.weight == 0 || config.phrases.value != "exact") return;
  const bool fixed = config.phrases.convention == "fixed";
  const std::int64_t most = fixed ? kMostSemanticPlayers - config.phrases.most : kMostRenormalised;
  if (config.regions.count <= most) return;
  throw ConfigError("objective.phrases.convention: " + config.phrases.convention + " with value exact allows " +
                    std::to_string(most) + " regions, but objective.regions.count is " +
                    std::to_string(config.regions.count) + "; lower it, or take value: sampled" +
                    (fixed ? "" : " or convention: fixed"));
}

/// The model section that LOUPE can train; throws ConfigError for any other.
const ModelConfig& loupe_model(const ModelConfig& model, const LoupeConfig& config, const CorpusFacts& facts) {
  const std::string who = objective_named(LoupeConfig::kTag);
  check_no_captions(facts, who);
  if (!std::holds_alternative<BertConfig>(model.text))
    throw ConfigError("model.text.type: " + who + " needs a bert text tower; use type: bert");
  const auto* vit = std::get_if<VitConfig>(&model.image);
  if (vit != nullptr && vit->patch_dropout > 0)
    throw ConfigError("model.image.patch_dropout: " + who + " plays with all patches; set it to 0");
  if (model.init_logit_scale != ModelConfig{}.init_logit_scale)
    throw ConfigError("model.init_logit_scale: " + who + " divides by objective.temperature instead; remove the key");
  const std::int64_t side = image_grid(model);
  if (side == 0) throw ConfigError("model.image.type: " + who + " needs a grid of cells; use type: swin or vit");
  const bool fine = config.tokens.weight > 0 || config.phrases.weight > 0;
  if (fine && config.regions.count > side * side)
    throw ConfigError("objective.regions.count: " + std::to_string(config.regions.count) + " is more than the " +
                      std::to_string(side * side) + " cells of the image tower's last grid; lower it");
  check_phrase_game(config);
  if (config.unsil.type == "transformer" && model.embed_dim % config.unsil.heads != 0)
    throw ConfigError("objective.unsil.heads: is " + std::to_string(config.unsil.heads) +
                      ", which must divide model.embed_dim " + std::to_string(model.embed_dim));
  return model;
}

BatchSpec loupe_needs(const ModelConfig& model, const LoupeConfig& config) {
  BatchSpec needs;
  needs.form = *text_form(model);
  needs.image_size = image_size(model);
  needs.phrases = config.phrases.weight > 0;
  return needs;
}

LoupeShape shape_of(const LoupeConfig& config, const ModelConfig& model) {
  LoupeShape shape{.temperature = config.temperature,
                   .learn_temperature = config.learn_temperature,
                   .attention_pool = config.image_feature == "attention"};
  const bool tokens = config.tokens.weight > 0, phrases = config.phrases.weight > 0;
  if (!tokens && !phrases) return shape;
  shape.region_hidden = config.regions.hidden;
  shape.least_region = config.regions.least;
  shape.pooled_confidence = config.regions.confidence == "pooled";
  if (config.unsil.type == "none") return shape;
  shape.network = config.unsil.type;
  const std::int64_t side = image_grid(model), d = model.embed_dim;
  if (tokens) {
    shape.tokens = {.width = d,
                    .target_width = d,
                    .image_tokens = side * side,
                    .text_tokens = std::get<BertConfig>(model.text).context,
                    .heads = config.unsil.heads};
  }
  if (phrases && config.unsil.level == "both") {
    shape.phrases = {.width = d,
                     .target_width = 2 * d,
                     .image_tokens = config.regions.count,
                     .text_tokens = config.phrases.most,
                     .heads = config.unsil.heads};
  }
  return shape;
}

at::Tensor all_rows_of(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

}  // namespace

LoupeObjective::LoupeObjective(const LoupeConfig& config, const ModelConfig& model, const CorpusFacts& facts,
                               const BuildContext& context)
    : config_(config),
      facts_(facts),
      context_(context),
      needs_(loupe_needs(loupe_model(model, config, facts), config)),
      model_(model, shape_of(config, model), context.initializer()),
      token_level_{RunningMoments(config.unsil.moments_decay, context.device)},
      phrase_level_{RunningMoments(config.unsil.moments_decay, context.device)} {
  context.start(model_, model);
}

// ---- Towers ----

LoupeObjective::Rows LoupeObjective::rows_of(const Batch& batch) const {
  at::Tensor tokens = batch.tokens.select(1, 0);
  if (!tokens.is_meta()) tokens = tokens.narrow(1, 0, text_lengths(tokens).max().item<std::int64_t>());
  Rows rows{batch, tokens.to(context_.device), {}};
  if (!has_phrases()) return rows;
  if (tokens.is_meta()) {  // as many phrases as may play
    const std::int64_t n = tokens.size(0), most = config_.phrases.most;
    rows.phrases = {at::empty({n, most, tokens.size(1)}, tokens.options().dtype(at::kFloat)), at::full({n}, most)};
    return rows;
  }
  rows.phrases = phrase_rows(batch.phrases, tokens.size(0), tokens.size(1), config_.phrases.most);
  rows.phrases.share_nPl = rows.phrases.share_nPl.to(context_.device);
  return rows;
}

LoupeObjective::Encoded LoupeObjective::encoded(const Rows& rows, StepScope& scope) {
  const auto of = [&](Purpose draws) { return scope.forward(draws, rows.batch.first_position, context_.device); };
  const auto autocast = scope.autocast(context_.device);
  const at::Tensor pictures = rows.batch.images.select(1, 0).to(context_.device);
  const auto image_draws = of(Purpose::kDropPath), text_draws = of(Purpose::kDropout);
  Encoded out;
  const at::Tensor embedded =
      model_.visual().embedded(normalise_images(pictures, facts_, context_.parameters), image_draws);
  out.image = model_.visual().encoded(embedded, image_draws);
  out.embedded = embedded.detach();
  out.text_nld = model_.text().encoded(model_.text().embedded(rows.tokens, text_draws), rows.tokens, text_draws);
  out.image_nd = unit_rows(model_.image_embedding(out.image), context_.parameters);
  out.text_nd = unit_rows(model_.text().project(out.text_nld.select(1, 0)), context_.parameters);
  return out;
}

/// Cells and pooled cells meet texts by the projection of the picture's one row.
at::Tensor LoupeObjective::cell_embeddings(const at::Tensor& states) const {
  return unit_rows(model_.visual().project(states), context_.parameters);
}

LoupeObjective::Chosen LoupeObjective::chosen_regions(const at::Tensor& cell_nkd) const {
  const std::int64_t n = cell_nkd.size(0), k = cell_nkd.size(1), side = model_.visual().grid();
  RegionBoxes boxes = model_.regions()->forward(cell_nkd);
  const at::Tensor every_nk = at::arange(k, boxes.box_nk4.options().dtype(at::kLong)).expand({n, k});
  const double sharpness = config_.regions.sharpness * region_sharpness(side);
  const at::Tensor soft_nkk = soft_membership(boxes.size_nk2, every_nk, side, sharpness);
  const at::Tensor inside_nkk = hard_membership(soft_nkk, every_nk);
  const at::Tensor pooled_nkd = pooled_regions(config_.regions.membership == "soft" ? soft_nkk : inside_nkk, cell_nkd);
  if (const at::Tensor logit_nk = model_.confidence(pooled_nkd); logit_nk.defined())
    boxes.confidence_logit_nk = logit_nk.to(boxes.confidence_logit_nk.scalar_type());
  const Regions top = top_regions(boxes, config_.regions.count);
  const at::Tensor of_nm1 = top.cell_nm.unsqueeze(2);
  const auto picked = [&](const at::Tensor& rows) { return rows.gather(1, of_nm1.expand({-1, -1, rows.size(2)})); };
  return {top.boxes, picked(inside_nkk), cell_embeddings(picked(pooled_nkd))};
}

at::Tensor LoupeObjective::phrase_embeddings(const Rows& rows, const at::Tensor& text_nld) const {
  const at::Tensor pooled = at::bmm(rows.phrases.share_nPl.to(text_nld.scalar_type()), text_nld);
  return unit_rows(model_.text().project(pooled), context_.parameters);
}

// ---- Step ----

std::vector<at::Tensor> LoupeObjective::encode(const Batch& micro_batch, StepScope& scope) {
  const Rows rows = rows_of(micro_batch);
  const Encoded states = encoded(rows, scope);
  std::vector<at::Tensor> out = {states.image_nd, states.text_nd};
  if (model_.regions() == nullptr) return out;
  const auto autocast = scope.autocast(context_.device);
  const Chosen chosen = chosen_regions(states.image.cell_nkd);
  out.push_back(chosen.boxes.confidence_logit_nk);
  if (has_phrases())
    out.push_back(at::bmm(chosen.embedding_nmd, phrase_embeddings(rows, states.text_nld).transpose(1, 2)));
  return out;
}

LossReport LoupeObjective::accumulate(std::span<const Batch> micro_batches, StepScope& scope) {
  const std::size_t count = micro_batches.size();
  const bool replay = count > 1;
  std::vector<Rows> rows;
  std::vector<Encoded> states;
  std::vector<at::Tensor> images, texts;
  for (auto* level : {&token_level_, &phrase_level_}) level->pending = at::Tensor();  // of a step that was skipped
  sampled_sums_3_ = at::zeros({3}, at::TensorOptions(context_.device).dtype(at::kDouble));
  for (const auto& batch : micro_batches) {
    const auto timed = scope.part("towers");
    rows.push_back(rows_of(batch));
    const c10::AutoGradMode graph(!replay);
    states.push_back(encoded(rows.back(), scope));
    images.push_back(states.back().image_nd.detach());
    texts.push_back(states.back().text_nd.detach());
    if (replay) states.back() = {};  // made again
  }
  const at::Tensor image_bd = cut_leaf(all_rows_of(images)), text_bd = cut_leaf(all_rows_of(texts));
  LossSum sum;
  const at::Tensor temperature_gradient = add_contrast(image_bd, text_bd, scope, sum);
  at::Tensor total = sum.total.detach();

  std::int64_t first = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (replay) {
      const auto timed = scope.part("towers");
      states[i] = encoded(rows[i], scope);
    }
    sum.total = at::Tensor();
    if (model_.regions() != nullptr) add_fine(rows[i], states[i], 1 / static_cast<double>(count), scope, sum);
    const bool last = i + 1 == count;
    if (last && has_tokens()) note_sampled(scope, sum);  // a collective: before gradients are reduced
    const std::int64_t n = rows[i].tokens.size(0);
    std::vector<at::Tensor> roots, gradients;
    const auto add = [&](const at::Tensor& root, const at::Tensor& gradient) {
      if (!root.requires_grad()) return;  // frozen
      roots.push_back(root);
      gradients.push_back(gradient);
    };
    if (sum.total.defined()) {
      total = total + sum.total.detach();
      add(sum.total, scope.seed_gradient(sum.total));
    }
    add(states[i].image_nd, image_bd.grad().narrow(0, first, n));
    add(states[i].text_nd, text_bd.grad().narrow(0, first, n));
    if (last && temperature_gradient.defined()) add(model_.temperature(), temperature_gradient);
    const auto timed = scope.part("backward");
    scope.backward(roots, gradients, last ? Last::kYes : Last::kNo);
    first += n;
    states[i] = {};
  }
  return {total, sum.terms};
}

at::Tensor LoupeObjective::add_contrast(const at::Tensor& image_bd, const at::Tensor& text_bd, StepScope& scope,
                                        LossSum& sum) {
  const auto timed = scope.part("contrast");
  const bool learnt = model_.temperature().requires_grad();
  const at::Tensor temperature = learnt ? cut_leaf(model_.temperature()) : model_.temperature().detach();
  const LossOutput half = clip_loss(image_bd, text_bd, temperature.reciprocal(), scope.comm(), scope.products());
  sum.add("contrast", half.total * 2, 1);  // equation 1 adds both directions
  scope.backward({sum.total}, {scope.seed_gradient(sum.total)}, Last::kNo);
  return temperature.grad();
}

void LoupeObjective::after_update(StepScope&) {
  const c10::NoGradGuard no_grad;
  model_.temperature().clamp_(kLeastTemperature, kMostTemperature);
  for (auto* level : {&token_level_, &phrase_level_}) {
    if (level->pending.defined()) level->moments.update(level->pending);
    level->pending = at::Tensor();
  }
}

std::vector<std::string> LoupeObjective::clipped_apart() const {
  std::vector<std::string> names;
  for (const auto& parameter : model_.parameters()) {
    if (parameter.name.starts_with("unsil.")) names.push_back(parameter.name);
  }
  return names;
}

void LoupeObjective::visit_state(StateVisitor& visitor) {
  model_.visit_state(visitor);
  if (config_.unsil.labels == "raw") return;
  if (model_.token_network() != nullptr) token_level_.moments.visit_state(visitor, "unsil.tokens.moments");
  if (model_.phrase_network() != nullptr) phrase_level_.moments.visit_state(visitor, "unsil.phrases.moments");
}

// ---- Evaluation ----

Encoders LoupeObjective::encoders() {
  const auto states = [this](const at::Tensor& images) {
    const auto forward = context_.evaluation();
    const at::Tensor pixels = normalise_images(images.to(context_.device), facts_, context_.parameters);
    return model_.visual().encoded(model_.visual().embedded(pixels, forward), forward);
  };
  Encoders encoders;
  encoders.features = [this, states](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return model_.image_feature(states(images));
  };
  encoders.image = [this, states](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return unit_rows(model_.image_embedding(states(images)), context_.parameters);
  };
  encoders.text = [this](const at::Tensor& tokens) {
    const EvaluationMode mode(model_);
    return unit_rows(model_.text().forward(tokens.to(context_.device), context_.evaluation()), context_.parameters);
  };
  encoders.patches = [this, states](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return cell_embeddings(states(images).cell_nkd);
  };
  if (model_.regions() != nullptr) {
    encoders.regions = [this, states](const at::Tensor& images) {
      const EvaluationMode mode(model_);
      const Chosen chosen = chosen_regions(states(images).cell_nkd);
      return RegionProposals{chosen.boxes.box_nk4, chosen.boxes.confidence_logit_nk.sigmoid(), chosen.embedding_nmd};
    };
    encoders.explain = [this](const PictureAndCaption& pair) { return explained(pair); };
  }
  encoders.scale = model_.temperature().detach().reciprocal();
  return encoders;
}

}  // namespace triptych

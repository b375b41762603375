// LOUPE's two games with their losses, inside one micro-batch.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/model/image_preprocess.h"
#include "core/objective/embedding.h"
#include "core/objective/interaction_gate.h"
#include "core/objective/loupe.h"
#include "core/objective/region_game.h"
#include "losses/fine_alignment.h"
#include "losses/global_mean.h"
#include "losses/semantic_game.h"
#include "losses/uncertain_interaction.h"

namespace triptych {
namespace {

MeanOver mean_over(const LoupeConfig& config) {
  return config.mean == "rank" ? MeanOver::kRank : MeanOver::kGlobal;
}

LabelForm label_form(const std::string& name) {
  if (name == "sigmoid") return LabelForm::kSigmoid;
  if (name == "softmax") return LabelForm::kSoftmax;
  return name == "min_max" ? LabelForm::kMinMax : LabelForm::kPositiveMinMax;
}

/// Draws of U(0, 1), `count` a row, keyed by the row's position: the same for any cut into micro-batches and ranks.
at::Tensor row_draws(StepScope& scope, Purpose purpose, std::int64_t first_position, std::int64_t n,
                     std::int64_t count) {
  const at::Tensor draws = at::empty({n, count}, at::kFloat);
  for (std::int64_t row = 0; row < n; ++row)
    draws[row].uniform_(0, 1, scope.draws(purpose, first_position + row, at::kCPU));
  return draws;
}

}  // namespace

void LoupeObjective::add_fine(const Rows& rows, const Encoded& states, double share, StepScope& scope, LossSum& sum) {
  Chosen chosen;
  {
    const auto timed = scope.part("regions");
    const auto autocast = scope.autocast(context_.device);
    chosen = chosen_regions(states.image.cell_nkd);
  }
  // Whatever the gates decide, every parameter gets a gradient on every rank.
  at::Tensor none = at::zeros({}, chosen.boxes.confidence_logit_nk.options().requires_grad(false));
  for (const auto& [name, parameter] : model_.fine_parameters()) none = none + 0 * parameter.sum();
  sum.total = none;
  if (has_tokens()) add_tokens(rows, states, chosen, share, scope, sum);
  if (has_phrases()) add_phrases(rows, states, chosen, share, scope, sum);
}

/// Regions among the cells and words of their pair.
UnsilInputs LoupeObjective::region_inputs(const Rows& rows, const Encoded& states, const Chosen& chosen,
                                          const at::Tensor& targets_t) const {
  const std::int64_t m = config_.regions.count;
  const at::Tensor row_t = targets_t.div(m, "floor");
  const auto of_row = [&](const at::Tensor& each) { return each.detach().index_select(0, row_t); };
  const auto of_target = [&](const at::Tensor& each) { return each.detach().flatten(0, 1).index_select(0, targets_t); };
  return {.image_tcd = of_row(cell_embeddings(states.image.cell_nkd)),
          .text_tld = of_row(unit_rows(model_.text().project(states.text_nld), context_.parameters)),
          .text_valid_tl = of_row(is_word(rows.tokens, config_.start_word, config_.end_word)),
          .target_tq = of_target(chosen.embedding_nmd),
          .image_member_tc = of_target(chosen.inside_nmk)};
}

/// Pairs of a region and a phrase among those of their picture.
UnsilInputs LoupeObjective::pair_inputs(const at::Tensor& region_nmd, const at::Tensor& phrase_npd,
                                        const at::Tensor& valid_np, const at::Tensor& targets_t) const {
  const std::int64_t m = region_nmd.size(1), p = phrase_npd.size(1);
  const at::Tensor row_t = targets_t.div(m * p, "floor"), pair_t = targets_t - row_t * (m * p);
  const at::Tensor region_t = pair_t.div(p, "floor"), phrase_t = pair_t - region_t * p;
  const auto one = [&](const at::Tensor& each, const at::Tensor& place_t) {
    return each.detach().flatten(0, 1).index_select(0, row_t * each.size(1) + place_t);
  };
  return {.image_tcd = region_nmd.detach().index_select(0, row_t),
          .text_tld = phrase_npd.detach().index_select(0, row_t),
          .text_valid_tl = valid_np.index_select(0, row_t),
          .target_tq = at::cat({one(region_nmd, region_t), one(phrase_npd, phrase_t)}, 1),
          .image_member_tc = at::arange(m, region_t.options()) == region_t.unsqueeze(1),
          .text_member_tl = at::arange(p, phrase_t.options()) == phrase_t.unsqueeze(1)};
}

at::Tensor LoupeObjective::sampled_regions(const Rows& rows, const Encoded& states, const Chosen& chosen,
                                           const at::Tensor& targets_t, StepScope& scope, LossSum& sum, double share) {
  const EvaluationMode mode(model_);
  const auto type = config_.tokens.compute == "bf16" ? at::kBFloat16 : scope.compute();
  const AutocastScope autocast(context_.device, context_.parameters, type);
  const auto forward = context_.evaluation();
  const std::int64_t m = config_.regions.count;
  std::vector<at::Tensor> values;
  std::int64_t forwards = 0;
  for (std::int64_t at = 0, end = 0; at < targets_t.size(0); at = end) {  // targets ascend: a picture's are together
    const auto row = targets_t[at].item<std::int64_t>() / m;
    while (end < targets_t.size(0) && targets_t[end].item<std::int64_t>() / m == row) ++end;
    const at::Tensor regions = targets_t.narrow(0, at, end - at) - row * m;
    const at::Tensor tokens = rows.tokens.narrow(0, row, 1);
    const PictureGame game{states.embedded.narrow(0, row, 1),
                           tokens.narrow(1, 0, text_lengths(tokens).item<std::int64_t>()),
                           chosen.inside_nmk[row].index_select(0, regions.to(context_.device))};
    const std::int64_t position = rows.batch.first_position + row;
    const auto draws = scope.draws(Purpose::kCoalition, position, at::kCPU);
    // Of its own for each region: which of them are sampled beside it depends on the gates and the cap.
    const auto members = [&](std::int64_t r) {
      return scope.draws(Purpose::kMember, position * m + regions[r].item<std::int64_t>(), at::kCPU);
    };
    const auto sampled = sample_interactions(model_, config_, game, draws, members, forward);
    values.push_back(sampled.each_rK.mean(1));
    sampled_sums_3_.select(0, 0).add_(sampled.spread_r.sum().to(at::kDouble));
    forwards += sampled.image_forwards;
  }
  sum.note("token_forwards", at::scalar_tensor(static_cast<double>(forwards) * share));
  return values.empty() ? at::zeros({0}, chosen.embedding_nmd.options().requires_grad(false)) : at::cat(values);
}

void LoupeObjective::teach(const Unsil& network, const char* name, const UnsilInputs& inputs, const at::Tensor& raw_t,
                           Level& level, double share, StepScope& scope, LossSum& sum) {
  const UnsilOutput out = network.forward(inputs);
  const at::Tensor wanted = level.moments.standardised(raw_t);
  const CountedLoss loss = uncertain_interaction_loss(
      out.value_t, out.sigma_t, wanted,
      {.beta1 = config_.unsil.beta1, .beta2 = config_.unsil.beta2, .floor = config_.unsil.floor});
  sum.add(name, global_mean(loss.sum, loss.count, scope.comm(), mean_over(config_)), config_.unsil.weight, share);
  if (config_.unsil.labels == "raw") return;
  at::Tensor sums = RunningMoments::sums(raw_t);
  scope.comm().all_reduce_sum(sums);
  level.pending = level.pending.defined() ? level.pending + sums : sums;
}

void LoupeObjective::add_tokens(const Rows& rows, const Encoded& states, const Chosen& chosen, double share,
                                StepScope& scope, LossSum& sum) {
  const std::int64_t n = rows.tokens.size(0), m = config_.regions.count;
  const Unsil* network = model_.token_network();
  const bool trusted = network != nullptr && past_warmup(scope);
  const at::Tensor uniform_nm = row_draws(scope, Purpose::kGate, rows.batch.first_position, n, m);
  const auto wide = chosen.boxes.confidence_logit_nk.options().requires_grad(false);
  at::Tensor value_nm = at::zeros({n, m}, wide), targets;
  {
    const auto timed = scope.part("token game");
    const c10::NoGradGuard no_grad;
    if (trusted) {
      const UnsilOutput guess =
          network->forward(region_inputs(rows, states, chosen, at::arange(n * m, rows.tokens.options())));
      value_nm = token_level_.moments.raw(guess.value_t).to(wide.dtype()).view({n, m});
      const at::Tensor sigma_nm = guess.sigma_t.to(at::kCPU, at::kFloat).view({n, m});
      targets = gated_targets(sigma_nm, uniform_nm, {}, config_.tokens.targets);
      sum.note("unsil_sigma", sigma_nm.mean() * share);
      // More than sampled_regions where tokens.targets is reached: the rest is the network's all the same.
      sum.note("gated_regions", uniform_nm.le(sigma_nm).to(at::kFloat).mean() * share);
    } else {
      targets = targets_of_rows(uniform_nm, config_.tokens.targets);
    }
    const at::Tensor raw = sampled_regions(rows, states, chosen, targets, scope, sum, share).to(wide.dtype());
    const at::Tensor places = targets.to(context_.device);
    const at::Tensor off = (value_nm.view({-1}).index_select(0, places) - raw).abs().sum();
    sampled_sums_3_.narrow(0, 1, 2).add_(at::stack({off, raw.abs().sum()}).to(at::kDouble));
    value_nm.view({-1}).index_copy_(0, places, raw);
  }
  const auto timed = scope.part("fine losses");
  const at::Tensor on_device = targets.to(context_.device);
  at::Tensor valid_n = at::zeros({n}, wide.dtype(at::kBool));
  trusted ? void(valid_n.fill_(true)) : void(valid_n.index_fill_(0, on_device.div(m, "floor"), true));
  const CountedLoss loss = token_alignment_loss(
      chosen.boxes.confidence_logit_nk, normalised_regions(value_nm, label_form(config_.tokens.label)), valid_n);
  sum.add("tsa", global_mean(loss.sum, loss.count, scope.comm(), mean_over(config_)), config_.tokens.weight, share);
  sum.note("sampled_regions",
           at::scalar_tensor(static_cast<double>(targets.size(0)) / static_cast<double>(n * m) * share));
  if (network == nullptr) return;
  teach(*network, "unsil_tokens", region_inputs(rows, states, chosen, on_device),
        value_nm.flatten().index_select(0, on_device), token_level_, share, scope, sum);
}

void LoupeObjective::note_sampled(StepScope& scope, LossSum& sum) {
  scope.comm().all_reduce_sum(sampled_sums_3_);
  const at::Tensor size = sampled_sums_3_.select(0, 2);
  // One sum over another, as a region whose interaction is near 0 must not decide; 0 where nothing was sampled.
  const auto ratio = [&](std::int64_t of) { return at::where(size > 0, sampled_sums_3_.select(0, of) / size, 0.0); };
  sum.note("token_instability", ratio(0));
  if (model_.token_network() != nullptr && past_warmup(scope)) sum.note("unsil_error", ratio(1));
}

at::Tensor LoupeObjective::phrase_interactions(const at::Tensor& alike_nmp, const at::Tensor& count_n,
                                               std::int64_t first_position, StepScope& scope) const {
  const SemanticGame game{.absent = config_.phrases.convention == "fixed" ? AbsentPlayers::kFixed
                                                                          : AbsentPlayers::kRenormalised};
  if (config_.phrases.value == "exact") return semantic_interactions(alike_nmp, count_n, {}, game);
  const std::int64_t n = alike_nmp.size(0), m = alike_nmp.size(1);
  at::Tensor value = at::zeros(alike_nmp.sizes(), at::kDouble);
  for (std::int64_t row = 0; row < n; ++row) {
    const auto p = count_n[row].item<std::int64_t>();
    if (p == 0) continue;
    at::Tensor draws = at::empty({m, p, config_.phrases.samples, m + p - 1}, at::kDouble);
    draws.uniform_(0, 1, scope.draws(Purpose::kPairCoalition, first_position + row, at::kCPU));
    const at::Tensor pairs = alike_nmp[row].narrow(1, 0, p);
    value[row].narrow(1, 0, p).copy_(sampled_semantic_interactions(pairs, draws, game).mean(2));
  }
  return value;
}

void LoupeObjective::add_phrases(const Rows& rows, const Encoded& states, const Chosen& chosen, double share,
                                 StepScope& scope, LossSum& sum) {
  const at::Tensor count_n = rows.phrases.count_n;
  at::Tensor phrase_npd;
  {
    const auto autocast = scope.autocast(context_.device);
    phrase_npd = phrase_embeddings(rows, states.text_nld);
  }
  const at::Tensor& region_nmd = chosen.embedding_nmd;
  const at::Tensor alike_nmp = at::bmm(region_nmd, phrase_npd.transpose(1, 2)) / config_.phrases.temperature;
  const at::Tensor plays_n = count_n >= config_.phrases.fewest;
  const std::int64_t n = alike_nmp.size(0), m = alike_nmp.size(1), p = alike_nmp.size(2);
  const at::Tensor valid_np = at::arange(p, count_n.options()) < (count_n * plays_n).unsqueeze(1);

  at::Tensor value_nmp, targets;
  const Unsil* network = model_.phrase_network();
  {
    const auto timed = scope.part("phrase game");
    const c10::NoGradGuard no_grad;
    value_nmp = phrase_interactions(alike_nmp.detach().cpu(), count_n * plays_n, rows.batch.first_position, scope);
    if (network != nullptr) {
      const at::Tensor may_teach = valid_np.unsqueeze(1).expand({n, m, p});
      const at::Tensor uniform =
          row_draws(scope, Purpose::kPairGate, rows.batch.first_position, n, m * config_.phrases.most)
              .view({n, m, -1})
              .narrow(2, 0, p)
              .contiguous();
      at::Tensor sigma = at::ones({n, m, p}, at::kFloat);
      if (past_warmup(scope)) {
        const at::Tensor all = may_teach.flatten().nonzero().squeeze(1);
        const UnsilOutput guess = network->forward(
            pair_inputs(region_nmd, phrase_npd, valid_np.to(context_.device), all.to(context_.device)));
        sigma.view({-1}).index_copy_(0, all, guess.sigma_t.to(at::kCPU, at::kFloat));
        const at::Tensor exact = value_nmp;
        value_nmp = exact.clone();
        const at::Tensor guessed = phrase_level_.moments.raw(guess.value_t).cpu().to(exact.scalar_type());
        value_nmp.view({-1}).index_copy_(0, all, guessed);
        targets = gated_targets(sigma, uniform, may_teach, config_.phrases.targets);
        value_nmp.view({-1}).index_copy_(0, targets, exact.flatten().index_select(0, targets));
      } else {
        targets = gated_targets(sigma, uniform, may_teach, config_.phrases.targets);
      }
    }
  }
  const auto timed = scope.part("fine losses");
  const at::Tensor value = value_nmp.to(context_.device, alike_nmp.scalar_type());
  const at::Tensor counts = (count_n * plays_n).to(context_.device);
  const CountedLoss loss =
      semantic_alignment_loss(alike_nmp, normalised_pairs(value, counts, label_form(config_.phrases.label)), counts,
                              config_.phrases.directions == "rows" ? SoftmaxOver::kPhrases : SoftmaxOver::kBoth);
  sum.add("fsa", global_mean(loss.sum, loss.count, scope.comm(), mean_over(config_)), config_.phrases.weight, share);
  sum.note("captions_with_phrases", plays_n.to(at::kFloat).mean() * share);
  if (network == nullptr) return;
  const at::Tensor on_device = targets.to(context_.device);
  teach(*network, "unsil_phrases", pair_inputs(region_nmd, phrase_npd, valid_np.to(context_.device), on_device),
        value.flatten().index_select(0, on_device), phrase_level_, share, scope, sum);
}

}  // namespace triptych

// A step: momentum encoders, student and teacher on all local rows, alignment over them, then each micro-batch's own
// losses and the backward through its towers. The losses are in tcl_losses.cpp.
#include "core/objective/tcl.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "core/base/errors.h"
#include "core/model/image_preprocess.h"
#include "core/objective/embedding.h"
#include "core/objective/gradient_cache.h"

namespace triptych {
namespace {

constexpr double kLeastTemperature = 0.001, kMostTemperature = 0.5;
constexpr int kStudentView = 0, kTeacherView = 1;

/// side: of the grid of patches.
void check_grid(const LocalsConfig& lmi, std::int64_t side) {
  const std::string patches = std::to_string(side);
  if (lmi.pool == "published" && published_cells(side) == 0)
    throw ConfigError("objective.lmi.pool: published cannot pool a grid of " + patches + " x " + patches +
                      " patches; use pool: cells");
  if (lmi.pool == "cells" && lmi.cells > side)
    throw ConfigError("objective.lmi.cells: " + std::to_string(lmi.cells) + " is more than the " + patches +
                      " patches of a side; lower it");
}

/// The model section that TCL can train; throws ConfigError for any other.
const ModelConfig& tcl_model(const ModelConfig& model, const TclConfig& config, const CorpusFacts& facts) {
  const std::string who = objective_named(TclConfig::kTag);
  check_no_captions(facts, who);
  const auto* vit = std::get_if<VitConfig>(&model.image);
  if (vit == nullptr) throw ConfigError("model.image.type: " + who + " reads the tokens of a vit; use type: vit");
  if (!std::holds_alternative<BertConfig>(model.text))
    throw ConfigError("model.text.type: " + who + " needs a bert text tower; use type: bert");
  if (!model.fusion) throw ConfigError("model.fusion: is missing; " + who + " needs it: fusion: {depth: 6}");
  if (vit->patch_dropout > 0)
    throw ConfigError("model.image.patch_dropout: " + who + " contrasts all patches; set it to 0");
  if (model.init_logit_scale != ModelConfig{}.init_logit_scale)
    throw ConfigError("model.init_logit_scale: " + who + " divides by objective.temperature instead; remove the key");
  if (config.weights.lmi > 0) check_grid(config.lmi, vit->image_size / vit->patch_size);
  return model;
}

BatchSpec tcl_needs(const ModelConfig& model) {
  BatchSpec needs;
  needs.views = 2;
  needs.form = *text_form(model);
  needs.image_size = image_size(model);
  return needs;
}

at::Tensor all_rows_of(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

}  // namespace

TclObjective::TclObjective(const TclConfig& config, const ModelConfig& model, const CorpusFacts& facts,
                           const BuildContext& context)
    : config_(config),
      facts_(facts),
      context_(context),
      needs_(tcl_needs(tcl_model(model, config, facts))),
      model_(model, config.temperature, context.initializer()),
      average_(model, context.initializer()),
      momentum_((context.start(model_, model), average_.to(context.device, context.parameters), model_.encoders()),
                average_),
      queue_(config.queue, model.embed_dim, context.seed, at::TensorOptions(context.device).dtype(context.parameters)),
      vocabulary_(std::get<BertConfig>(model.text).vocabulary) {}

// ---- Encoders ----

TclObjective::Rows TclObjective::rows_of(const Batch& batch) const {
  at::Tensor tokens = batch.tokens.select(1, 0);
  if (!global_negatives() && !tokens.is_meta())
    tokens = tokens.narrow(1, 0, text_lengths(tokens).max().item<std::int64_t>());
  return {batch, tokens.to(context_.device), batch.labels.to(context_.device)};
}

TclObjective::Encoded TclObjective::encoded(const AlignedEncoders& model, const Rows& rows, int view,
                                            const ForwardScope& image, const ForwardScope& text,
                                            StepScope& scope) const {
  const auto autocast = scope.autocast(context_.device);
  const at::Tensor pictures = rows.batch.images.select(1, view).to(context_.device);
  Encoded out;
  out.image_nkc = model.visual().tokens(normalise_images(pictures, facts_, context_.parameters), image);
  out.text_nld = model.bert().text(rows.tokens, text);
  out.image_nd = unit_rows(model.project_image(out.image_nkc.select(1, 0)), context_.parameters);
  out.text_nd = unit_rows(model.project_text(out.text_nld.select(1, 0)), context_.parameters);
  return out;
}

TclObjective::Encoded TclObjective::student(const Rows& rows, StepScope& scope) {
  const auto timed = scope.part("student");
  const auto of = [&](Purpose draws) { return scope.forward(draws, rows.batch.first_position, context_.device); };
  return encoded(model_.encoders(), rows, kStudentView, of(Purpose::kDropPath), of(Purpose::kDropout), scope);
}

TclObjective::Encoded TclObjective::teacher(const Rows& rows, StepScope& scope) {
  const auto timed = scope.part("teacher");
  const c10::NoGradGuard no_grad;
  const auto draws = scope.forward(Purpose::kTeacher, rows.batch.first_position, context_.device);
  return encoded(average_, rows, kTeacherView, draws, draws, scope);
}

TclObjective::Keys TclObjective::gathered(const at::Tensor& image_nd, const at::Tensor& text_nd,
                                          const at::Tensor& labels_n, Collectives& comm) const {
  const at::Tensor both = comm.all_gather(at::stack({image_nd, text_nd}, 1));
  return {both.select(1, 0).contiguous(), both.select(1, 1).contiguous(), comm.all_gather(labels_n),
          comm.rank() * image_nd.size(0)};
}

// ---- Step ----

std::vector<at::Tensor> TclObjective::encode(const Batch& micro_batch, StepScope& scope) {
  const Rows rows = rows_of(micro_batch);
  const Encoded students = student(rows, scope), teachers = teacher(rows, scope);
  at::Tensor tokens = rows.tokens, places;
  if (tokens.is_meta()) {  // shapes alone: as many words as are to be expected
    const auto expected = std::llround(config_.mask_probability * static_cast<double>(tokens.numel()));
    places = at::empty({std::max<std::int64_t>(1, expected)}, tokens.options());
  } else {
    const MaskedWords words = masked(rows, scope);
    tokens = words.tokens_bl;
    places = words.chosen_bl.flatten().nonzero().squeeze(1);
  }
  const auto of = [&](Purpose draws) { return scope.forward(draws, micro_batch.first_position, context_.device); };
  const at::Tensor matches = match_logits(rows, students, teachers, scope).first;
  const auto autocast = scope.autocast(context_.device);
  {
    const c10::NoGradGuard no_grad;
    word_logits(average_, tokens, teachers.image_nkc, places, of(Purpose::kTeacherWords));
  }
  return {students.image_nd, students.text_nd, matches,
          word_logits(model_.encoders(), tokens, students.image_nkc, places, of(Purpose::kWords))};
}

void TclObjective::begin_step(StepScope& scope) {
  const auto timed = scope.part("momentum");
  const c10::NoGradGuard no_grad;
  model_.temperature().clamp_(kLeastTemperature, kMostTemperature);
  momentum_.update(config_.momentum);
}

TclObjective::Local TclObjective::encoded_rows(std::span<const Batch> micro_batches, StepScope& scope) {
  const bool replay = micro_batches.size() > 1;
  Local local;
  std::vector<at::Tensor> image_s, text_s, image_t, text_t, labels;
  for (const auto& batch : micro_batches) {
    local.rows.push_back(rows_of(batch));
    const c10::AutoGradMode graph(!replay);
    local.student.push_back(student(local.rows.back(), scope));
    local.teacher.push_back(teacher(local.rows.back(), scope));
    auto &own = local.student.back(), &taught = local.teacher.back();
    image_s.push_back(own.image_nd.detach());
    text_s.push_back(own.text_nd.detach());
    image_t.push_back(taught.image_nd);
    text_t.push_back(taught.text_nd);
    labels.push_back(local.rows.back().labels);
    if (replay) own = taught = {};  // token states are large, and made again
  }
  local.aligned = {{}, {}, cut_leaf(all_rows_of(image_s)), cut_leaf(all_rows_of(text_s))};
  local.taught = {{}, {}, all_rows_of(image_t), all_rows_of(text_t)};
  local.labels_b = all_rows_of(labels);
  local.temperature = cut_leaf(model_.temperature());
  return local;
}

void TclObjective::align(const Local& local, StepScope& scope, LossSum& sum) {
  const auto timed = scope.part("losses");
  latest_ = gathered(local.taught.image_nd, local.taught.text_nd, local.labels_b, scope.comm());
  const Keys own{local.taught.image_nd, local.taught.text_nd, local.labels_b, 0};
  add_alignment(local.aligned, local.taught, global_negatives() ? *latest_ : own, local.temperature, scope, sum);
  scope.backward({sum.total}, {scope.seed_gradient(sum.total)}, Last::kNo);
}

void TclObjective::differentiate(const Local& local, std::size_t i, std::int64_t first, const at::Tensor& loss,
                                 StepScope& scope) {
  const auto timed = scope.part("backward");
  const std::int64_t n = local.rows[i].tokens.size(0);
  std::vector<at::Tensor> roots, gradients;
  const auto add = [&](const at::Tensor& root, const at::Tensor& gradient) {
    if (!root.requires_grad()) return;  // frozen
    roots.push_back(root);
    gradients.push_back(gradient);
  };
  add(loss, scope.seed_gradient(loss));
  add(local.student[i].image_nd, local.aligned.image_nd.grad().narrow(0, first, n));
  add(local.student[i].text_nd, local.aligned.text_nd.grad().narrow(0, first, n));
  const bool last = i + 1 == local.rows.size();
  if (last) add(model_.temperature(), local.temperature.grad());
  scope.backward(roots, gradients, last ? Last::kYes : Last::kNo);
}

LossReport TclObjective::accumulate(std::span<const Batch> micro_batches, StepScope& scope) {
  const std::size_t count = micro_batches.size();
  Local local = encoded_rows(micro_batches, scope);
  LossSum sum;
  align(local, scope, sum);
  at::Tensor total = sum.total.detach();

  std::vector<MaskedWords> words;
  std::int64_t chosen = 0, first = 0;
  for (const auto& rows : local.rows) {
    words.push_back(masked(rows, scope));
    chosen += words.back().chosen_bl.sum().item<std::int64_t>();
  }
  const double share = 1 / static_cast<double>(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Rows& rows = local.rows[i];
    Encoded &students = local.student[i], &teachers = local.teacher[i];
    if (count > 1) {
      students = student(rows, scope);
      teachers = teacher(rows, scope);
    }
    sum.total = at::Tensor();
    add_locals(rows, students, teachers, share, scope, sum);
    add_matching(rows, students, teachers, share, scope, sum);
    add_words(rows, words[i], chosen, students, teachers, scope, sum);
    total = total + sum.total.detach();
    differentiate(local, i, first, sum.total, scope);
    first += rows.tokens.size(0);
    students = teachers = {};
  }
  return {total, sum.terms};
}

void TclObjective::after_update(StepScope& scope) {
  const auto timed = scope.part("queue");
  queue_.push(latest_->image_nd, latest_->text_nd, latest_->labels_n);
}

void TclObjective::visit_state(StateVisitor& visitor) {
  model_.visit_state(visitor);
  average_.visit_state(visitor, "momentum");
  queue_.visit_state(visitor);
}

Encoders TclObjective::encoders() {
  const auto pictures = [this](const at::Tensor& images) {
    return normalise_images(images.to(context_.device), facts_, context_.parameters);
  };
  auto& model = model_.encoders();
  Encoders encoders;
  encoders.features = [this, &model, pictures](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return model.visual().features(pictures(images), context_.evaluation());
  };
  encoders.image = [this, &model, features = encoders.features](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return unit_rows(model.project_image(features(images)), context_.parameters);
  };
  encoders.text = [this, &model](const at::Tensor& tokens) {
    const EvaluationMode mode(model_);
    const at::Tensor states = model.bert().text(tokens.to(context_.device), context_.evaluation());
    return unit_rows(model.project_text(states.select(1, 0)), context_.parameters);
  };
  // An update may have left the bounds, into which the next step begins by bringing it back.
  encoders.scale = model_.temperature().detach().clamp(kLeastTemperature, kMostTemperature).reciprocal();
  PairMatcher match;
  match.image_states = [this, &model, pictures](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return model.visual().tokens(pictures(images), context_.evaluation());
  };
  match.text_states = [this, &model](const at::Tensor& tokens) {
    const EvaluationMode mode(model_);
    return model.bert().text(tokens.to(context_.device), context_.evaluation());
  };
  match.score = [this, &model](const at::Tensor& image, const at::Tensor& text, const at::Tensor& tokens) {
    const EvaluationMode mode(model_);
    const at::Tensor fused = model.bert().fused(text, tokens.to(context_.device), image, context_.evaluation());
    return model_.match_logits(fused.select(1, 0)).select(1, 1);
  };
  encoders.match = match;
  return encoders;
}

}  // namespace triptych

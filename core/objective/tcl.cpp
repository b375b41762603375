// A step: momentum encoders, student and teacher on all local rows, alignment over them, then each micro-batch's own
// losses and the backward through its towers.
#include "core/objective/tcl.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "core/base/errors.h"
#include "core/model/image_preprocess.h"
#include "core/objective/embedding.h"
#include "core/objective/gradient_cache.h"
#include "distributed/gather_with_grad.h"
#include "losses/global_mean.h"
#include "losses/queue_contrast.h"

namespace triptych {
namespace {

constexpr double kLeastTemperature = 0.001, kMostTemperature = 0.5;
constexpr int kStudentView = 0, kTeacherView = 1;

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
  const auto side = vit->image_size / vit->patch_size;
  if (config.lmi.pool == "published" && published_cells(side) == 0)
    throw ConfigError("objective.lmi.pool: published cannot pool a grid of " + std::to_string(side) + " x " +
                      std::to_string(side) + " patches; use pool: cells");
  if (config.lmi.pool == "cells" && config.lmi.cells > side)
    throw ConfigError("objective.lmi.cells: " + std::to_string(config.lmi.cells) + " is more than the " +
                      std::to_string(side) + " patches of a side; lower it");
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

struct TclObjective::Sum {
  at::Tensor total;
  std::vector<LossTerm> terms;

  void add(const char* name, const at::Tensor& value, double weight, double share = 1) {
    const at::Tensor part = value * (weight * share);
    total = total.defined() ? total + part : part;
    note(name, value.detach() * share);
  }
  void note(const char* name, const at::Tensor& value) {
    const auto at = std::find_if(terms.begin(), terms.end(), [&](const LossTerm& term) { return term.name == name; });
    at == terms.end() ? terms.push_back({name, value}) : void(at->value = at->value + value);
  }
};

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

double TclObjective::alpha(const StepClock& clock) const {
  if (hooks_.alpha) return hooks_.alpha(clock);
  const double rise = config_.alpha_epochs * static_cast<double>(facts_.steps_per_epoch);
  return rise == 0 ? config_.alpha : config_.alpha * std::min(1.0, static_cast<double>(clock.step) / rise);
}

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
  const auto of = [&](Purpose draws) { return scope.forward(draws, rows.batch.first_position, context_.device); };
  return encoded(model_.encoders(), rows, kStudentView, of(Purpose::kDropPath), of(Purpose::kDropout), scope);
}

TclObjective::Encoded TclObjective::teacher(const Rows& rows, StepScope& scope) {
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

// ---- Losses ----

void TclObjective::add_alignment(const Encoded& student, const Encoded& teacher, const Keys& keys,
                                 const at::Tensor& temperature, StepScope& scope, Sum& sum) const {
  const bool by_label = config_.positives == "label";
  const auto contrast = [&](const at::Tensor& query, bool with_texts, const QueueTeacher& taught) {
    QueueKeys against{.batch_nd = with_texts ? keys.text_nd : keys.image_nd,
                      .own = keys.own,
                      .queue_kd = with_texts ? queue_.text() : queue_.image()};
    if (by_label) {
      against.batch_labels_n = keys.labels_n;
      against.queue_labels_k = queue_.labels();
    }
    return queue_contrast_loss(query, against, temperature, taught, scope.products());
  };
  const double share = alpha(scope.clock());
  const auto of = [&](const at::Tensor& rows) { return share > 0 ? QueueTeacher{rows, share} : QueueTeacher{}; };
  sum.add("i2t", contrast(student.image_nd, true, of(teacher.image_nd)), config_.weights.cma);
  sum.add("t2i", contrast(student.text_nd, false, of(teacher.text_nd)), config_.weights.cma);
  if (config_.weights.imc == 0) return;
  sum.add("i2i", contrast(student.image_nd, false, {}), config_.weights.imc);
  sum.add("t2t", contrast(student.text_nd, true, {}), config_.weights.imc);
}

void TclObjective::add_locals(const Rows& rows, const Encoded& student, const Encoded& teacher, double share,
                              StepScope& scope, Sum& sum) {
  if (config_.weights.lmi == 0) return;
  const auto locals = [&](const at::Tensor& states) { return states.narrow(1, 1, states.size(1) - 1); };
  LocalKeys patches, words;
  {
    const c10::NoGradGuard no_grad;
    const auto pooling = config_.lmi.pool == "cells" ? CellPooling::kCells : CellPooling::kPublished;
    {
      const auto autocast = scope.autocast(context_.device);
      patches.local_nld = average_.project_image(locals(teacher.image_nkc));
      words.local_nld = average_.project_text(locals(teacher.text_nld));
    }
    patches.local_nld = pooled_cells(unit_rows(patches.local_nld, context_.parameters), config_.lmi.cells, pooling);
    words.local_nld = unit_rows(words.local_nld, context_.parameters);
    words.valid_nl = locals(rows.tokens) != kBertPadding;
    if (global_negatives()) {
      auto& comm = scope.comm();
      patches.own = words.own = comm.rank() * rows.tokens.size(0);
      patches.local_nld = comm.all_gather(patches.local_nld.contiguous());
      words.local_nld = comm.all_gather(words.local_nld.contiguous());
      words.valid_nl = comm.all_gather(words.valid_nl.to(at::kByte).contiguous()).to(at::kBool);
    }
  }
  const double weight = config_.weights.lmi;
  sum.add("lmi_image", local_contrast_loss(student.image_nd, patches, model_.temperature(), LocalMean::kAll), weight,
          share);
  sum.add("lmi_text", local_contrast_loss(student.text_nd, words, model_.temperature(), LocalMean::kSample), weight,
          share);
}

std::pair<at::Tensor, at::Tensor> TclObjective::match_logits(const Rows& rows, const Encoded& student,
                                                             const Encoded& teacher, StepScope& scope) {
  Keys keys{teacher.image_nd, teacher.text_nd, rows.labels, 0};
  at::Tensor image = student.image_nkc, text = student.text_nld, tokens = rows.tokens;
  const bool shapes_only = tokens.is_meta();
  if (global_negatives() && shapes_only) {  // no transport moves shapes
    const std::int64_t ranks = scope.forward(Purpose::kFusion, 0, context_.device).ranks;
    image = image.repeat({ranks, 1, 1});
    text = text.repeat({ranks, 1, 1});
    tokens = tokens.repeat({ranks, 1});
  } else if (global_negatives()) {
    auto& comm = scope.comm();
    keys = gathered(teacher.image_nd, teacher.text_nd, rows.labels, comm);
    image = all_gather_with_grad(image.contiguous(), comm);
    text = all_gather_with_grad(text.contiguous(), comm);
    tokens = comm.all_gather(tokens.contiguous());
  }
  const std::int64_t n = rows.tokens.size(0), all = keys.image_nd.size(0);
  const bool by_label = config_.positives == "label";
  at::Tensor forbidden;
  if (!shapes_only)
    forbidden = forbidden_pairs(n, all, keys.own, by_label ? rows.labels : at::Tensor(),
                                by_label ? keys.labels_n : at::Tensor(), context_.device);
  const at::Generator draws = scope.draws(Purpose::kNegative, rows.batch.first_position, context_.device);
  const auto drawn = [&](const at::Tensor& query, const at::Tensor& key, TclHooks::Side side) {
    const c10::NoGradGuard no_grad;
    if (shapes_only) return HardNegatives{at::zeros_like(rows.labels), at::ones_like(rows.labels, at::kBool)};
    const at::Tensor uniform = at::empty({n, all}, query.options().dtype(at::kFloat));
    at::Tensor(uniform).uniform_(0, 1, draws);
    HardNegatives chosen = hard_negatives(query.matmul(key.t()) / model_.temperature(), forbidden, uniform);
    if (hooks_.negatives) chosen.index_b = hooks_.negatives(rows.batch, side).to(context_.device);
    return chosen;
  };
  const auto images = drawn(student.text_nd, keys.image_nd, TclHooks::Side::kImagesForTexts);
  const auto texts = drawn(student.image_nd, keys.text_nd, TclHooks::Side::kTextsForImages);

  const auto autocast = scope.autocast(context_.device);
  const at::Tensor text_3n = at::cat({student.text_nld, student.text_nld, text.index_select(0, texts.index_b)});
  const at::Tensor tokens_3n = at::cat({rows.tokens, rows.tokens, tokens.index_select(0, texts.index_b)});
  const at::Tensor image_3n = at::cat({student.image_nkc, image.index_select(0, images.index_b), student.image_nkc});
  const auto forward = scope.forward(Purpose::kFusion, rows.batch.first_position, context_.device);
  const at::Tensor fused = model_.encoders().bert().fused(text_3n, tokens_3n, image_3n, forward);
  const at::Tensor counts = at::cat({at::ones_like(images.valid_b), images.valid_b, texts.valid_b});
  return {model_.match_logits(fused.select(1, 0)), counts};
}

void TclObjective::add_matching(const Rows& rows, const Encoded& student, const Encoded& teacher, double share,
                                StepScope& scope, Sum& sum) {
  const auto [logits, counts] = match_logits(rows, student, teacher, scope);
  const std::int64_t n = rows.tokens.size(0);
  const at::Tensor wide = logits.to(context_.parameters), weight = counts.to(wide.scalar_type());
  const at::Tensor target = at::cat({at::ones({n}, rows.tokens.options()), at::zeros({2 * n}, rows.tokens.options())});
  const at::Tensor each = -at::log_softmax(wide, 1).gather(1, target.unsqueeze(1)).squeeze(1);
  sum.add("itm", (each * weight).mean(), config_.weights.itm, share);
  const at::Tensor right = (wide.detach().argmax(1) == target).to(weight.scalar_type()) * weight;
  sum.note("itm_accuracy", right.sum() / weight.sum() * share);
}

MaskedWords TclObjective::masked(const Rows& rows, StepScope& scope) const {
  if (hooks_.mask) return hooks_.mask(rows.batch, rows.tokens);
  const at::Generator draws = scope.draws(Purpose::kMask, rows.batch.first_position, context_.device);
  const auto uniform = [&] {
    at::Tensor numbers = at::empty(rows.tokens.sizes(), rows.tokens.options().dtype(at::kFloat));
    return numbers.uniform_(0, 1, draws);
  };
  MaskDraws drawn;
  for (auto* numbers : {&drawn.chosen, &drawn.replace, &drawn.random, &drawn.word}) *numbers = uniform();
  return mask_words(rows.tokens, drawn, config_.mask_probability,
                    {.pad = kBertPadding,
                     .start = config_.start_word,
                     .end = config_.end_word,
                     .mask = config_.mask_word,
                     .vocabulary = vocabulary_});
}

at::Tensor TclObjective::word_logits(const AlignedEncoders& model, const at::Tensor& tokens,
                                     const at::Tensor& image_nkc, const at::Tensor& places,
                                     const ForwardScope& forward) const {
  const at::Tensor fused = model.bert().fused(model.bert().text(tokens, forward), tokens, image_nkc, forward);
  return model.bert().word_logits(fused.flatten(0, 1).index_select(0, places));
}

void TclObjective::add_words(const Rows& rows, const MaskedWords& words, std::int64_t count, const Encoded& student,
                             const Encoded& teacher, StepScope& scope, Sum& sum) {
  const at::Tensor places = words.chosen_bl.flatten().nonzero().squeeze(1);
  const at::Tensor target = rows.tokens.flatten().index_select(0, places);
  const double share = alpha(scope.clock());
  const auto of = [&](Purpose draws) { return scope.forward(draws, rows.batch.first_position, context_.device); };
  at::Tensor taught, guessed;
  {
    const auto autocast = scope.autocast(context_.device);
    if (share > 0) {
      const c10::NoGradGuard no_grad;
      taught = word_logits(average_, words.tokens_bl, teacher.image_nkc, places, of(Purpose::kTeacherWords));
    }
    guessed = word_logits(model_.encoders(), words.tokens_bl, student.image_nkc, places, of(Purpose::kWords));
  }
  const auto over = config_.mean == "rank" ? MeanOver::kRank : MeanOver::kGlobal;
  const at::Tensor local = masked_word_loss(guessed, target, taught, share).to(context_.parameters);
  sum.add("mlm", global_mean(local, count, scope.comm(), over), config_.weights.mlm);
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

void TclObjective::begin_step(StepScope&) {
  const c10::NoGradGuard no_grad;
  model_.temperature().clamp_(kLeastTemperature, kMostTemperature);
  momentum_.update(config_.momentum);
}

LossReport TclObjective::accumulate(std::span<const Batch> micro_batches, StepScope& scope) {
  const std::size_t count = micro_batches.size();
  const bool replay = count > 1;
  std::vector<Rows> rows;
  std::vector<Encoded> students, teachers;
  std::vector<at::Tensor> image_s, text_s, image_t, text_t, labels;
  for (const auto& batch : micro_batches) {
    rows.push_back(rows_of(batch));
    const c10::AutoGradMode graph(!replay);
    students.push_back(student(rows.back(), scope));
    teachers.push_back(teacher(rows.back(), scope));
    image_s.push_back(students.back().image_nd.detach());
    text_s.push_back(students.back().text_nd.detach());
    image_t.push_back(teachers.back().image_nd);
    text_t.push_back(teachers.back().text_nd);
    labels.push_back(rows.back().labels);
    if (replay) students.back() = teachers.back() = {};  // token states are large, and made again
  }
  const Encoded own{{}, {}, cut_leaf(all_rows_of(image_s)), cut_leaf(all_rows_of(text_s))},
      taught{{}, {}, all_rows_of(image_t), all_rows_of(text_t)};
  const at::Tensor labels_b = all_rows_of(labels), temperature = cut_leaf(model_.temperature());
  latest_ = gathered(taught.image_nd, taught.text_nd, labels_b, scope.comm());

  Sum sum;
  add_alignment(own, taught, global_negatives() ? *latest_ : Keys{taught.image_nd, taught.text_nd, labels_b, 0},
                temperature, scope, sum);
  scope.backward({sum.total}, {scope.seed_gradient(sum.total)}, Last::kNo);
  at::Tensor total = sum.total.detach();

  std::vector<MaskedWords> words;
  std::int64_t chosen = 0, first = 0;
  for (const auto& one : rows) {
    words.push_back(masked(one, scope));
    chosen += words.back().chosen_bl.sum().item<std::int64_t>();
  }
  const double share = 1 / static_cast<double>(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (replay) {
      students[i] = student(rows[i], scope);
      teachers[i] = teacher(rows[i], scope);
    }
    sum.total = at::Tensor();
    add_locals(rows[i], students[i], teachers[i], share, scope, sum);
    add_matching(rows[i], students[i], teachers[i], share, scope, sum);
    add_words(rows[i], words[i], chosen, students[i], teachers[i], scope, sum);
    total = total + sum.total.detach();

    const std::int64_t n = rows[i].tokens.size(0);
    std::vector<at::Tensor> roots, gradients;
    const auto add = [&](const at::Tensor& root, const at::Tensor& gradient) {
      if (!root.requires_grad()) return;  // frozen
      roots.push_back(root);
      gradients.push_back(gradient);
    };
    add(sum.total, scope.seed_gradient(sum.total));
    add(students[i].image_nd, own.image_nd.grad().narrow(0, first, n));
    add(students[i].text_nd, own.text_nd.grad().narrow(0, first, n));
    const bool last = i + 1 == count;
    if (last) add(model_.temperature(), temperature.grad());
    scope.backward(roots, gradients, last ? Last::kYes : Last::kNo);
    first += n;
    students[i] = teachers[i] = {};
  }
  return {total, sum.terms};
}

void TclObjective::after_update(StepScope&) {
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

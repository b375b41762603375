// The terms of TCL's loss, each added to the sum with its weight.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "core/objective/embedding.h"
#include "core/objective/tcl.h"
#include "distributed/gather_with_grad.h"
#include "losses/global_mean.h"
#include "losses/queue_contrast.h"

namespace triptych {

double TclObjective::alpha(const StepClock& clock) const {
  if (hooks_.alpha) return hooks_.alpha(clock);
  const double rise = config_.alpha_epochs * static_cast<double>(facts_.steps_per_epoch);
  return rise == 0 ? config_.alpha : config_.alpha * std::min(1.0, static_cast<double>(clock.step) / rise);
}

void TclObjective::add_alignment(const Encoded& student, const Encoded& teacher, const Keys& keys,
                                 const at::Tensor& temperature, StepScope& scope, LossSum& sum) const {
  const auto timed = scope.part("losses");
  KeyClasses classes;
  if (config_.positives == "label")
    classes = key_classes(keys.labels_n, queue_.labels(), keys.own, student.image_nd.size(0));
  const auto contrast = [&](const at::Tensor& query, bool with_texts, const QueueTeacher& taught) {
    const QueueKeys against{.batch_nd = with_texts ? keys.text_nd : keys.image_nd,
                            .own = keys.own,
                            .queue_kd = with_texts ? queue_.text() : queue_.image(),
                            .classes = classes};
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
                              StepScope& scope, LossSum& sum) {
  if (config_.weights.lmi == 0) return;
  const auto timed = scope.part("losses");
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

  const auto timed = scope.part("itm");
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
                                StepScope& scope, LossSum& sum) {
  const auto timed = scope.part("losses");
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
                             const Encoded& teacher, StepScope& scope, LossSum& sum) {
  const auto timed = scope.part("losses");
  const at::Tensor places = words.chosen_bl.flatten().nonzero().squeeze(1);
  const at::Tensor target = rows.tokens.flatten().index_select(0, places);
  const double share = alpha(scope.clock());
  const auto of = [&](Purpose draws) { return scope.forward(draws, rows.batch.first_position, context_.device); };
  at::Tensor taught, guessed;
  {
    const auto fused = scope.part("mlm");
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

}  // namespace triptych

// What TCL draws, which pairs it matches, what the labels of the queue do, and that a micro-batch's second forward is
// the first again.
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/model/image_preprocess.h"
#include "losses/local_contrast.h"
#include "tests/objective/tiny_tcl.h"

namespace triptych {
namespace {

/// fusion_batch with a first word that tells each caption from the others.
Batch distinct_captions() {
  Batch batch = fusion_batch();
  for (std::int64_t i = 0; i < kRows; ++i) batch.tokens[i][0][1] = 10 + i;
  return batch;
}

StepScope scope_of(std::int64_t step, Collectives& comm, std::uint64_t seed = kSeed) {
  return {{.step = step, .samples_seen = 1000, .epoch = 0}, seed, kFp64, comm, nullptr};
}

// ---- Masked words ----

/// What a step draws for a micro-batch, by the rule of MaskDraws: four numbers a token from one key.
MaskedWords words_by_rule(const StepScope& scope, const Batch& batch, const at::Tensor& tokens) {
  const auto draws = scope.draws(Purpose::kMask, batch.first_position, at::kCPU);
  MaskDraws drawn;
  for (auto* numbers : {&drawn.chosen, &drawn.replace, &drawn.random, &drawn.word})
    *numbers = at::empty(tokens.sizes(), at::kFloat).uniform_(0, 1, draws);
  return mask_words(tokens, drawn, 0.15, {.pad = 0, .start = 2, .end = 3, .mask = 4, .vocabulary = kWordCount});
}

/// Every term of a step in micro-batches of `micro_batch`, and its gradients.
struct Measured {
  double total = 0;
  std::map<std::string, double> terms;
  Gradients gradients;
};
Measured measured(TclObjective& objective, const Batch& batch, std::int64_t micro_batch, StepScope scope) {
  for (auto& [name, tensor] : objective.module().parameters()) tensor.mutable_grad() = at::Tensor();
  const auto report = objective.accumulate(cut(batch, micro_batch), scope);
  Measured result{report.total.item<double>(), {}, gradients_of(objective.module())};
  for (const auto& term : report.terms) result.terms[term.name] = term.value.item<double>();
  return result;
}

TEST(TclDetails, MasksTheWordsOfItsKeyAndNoOthers) {
  run_ranks(1, [](Collectives& comm) {
    TclObjective objective(tiny_tcl(), tiny_fusion_model(), tiny_facts(), in_fp64());
    const Batch batch = fusion_batch();
    for (const std::int64_t step : {0, 1, 7}) {
      const auto drawn = measured(objective, batch, 4, scope_of(step, comm));
      const auto with_words_of = [&](std::int64_t drawn_step) {
        TclHooks hooks;
        hooks.mask = [&, drawn_step](const Batch& micro, const at::Tensor& tokens) {
          return words_by_rule(scope_of(drawn_step, comm), micro, tokens);
        };
        objective.prescribe(hooks);
        auto result = measured(objective, batch, 4, scope_of(step, comm));
        objective.prescribe({});
        return result;
      };
      const auto same = with_words_of(step), other = with_words_of(step + 1);
      EXPECT_EQ(same.terms, drawn.terms) << step;
      EXPECT_EQ(difference(same.gradients, drawn.gradients), 0) << step;
      EXPECT_GT(std::abs(other.terms.at("mlm") - drawn.terms.at("mlm")), 1e-3) << step;  // control
    }
  });
}

TEST(TclDetails, FifteenPercentOfTheWordsAreMaskedMostly) {
  run_ranks(1, [](Collectives& comm) {
    TclObjective objective(tiny_tcl(), tiny_fusion_model(), tiny_facts(), in_fp64());
    const c10::NoGradGuard no_grad;
    const Batch batch = fusion_batch();
    const at::Tensor tokens = batch.tokens.select(1, 0), words = tokens > 4;
    double all = 0, guessed = 0, chosen = 0, hidden = 0, same = 0;
    for (std::int64_t step = 0; step < 600; ++step) {
      StepScope scope = scope_of(step, comm);
      // As many rows of logits as words are to be guessed.
      if (step < 150) guessed += static_cast<double>(objective.encode(batch, scope)[3].size(0));
      const auto masked = words_by_rule(scope, batch, tokens);
      EXPECT_FALSE(masked.chosen_bl.logical_and(words.logical_not()).any().item<bool>());
      const auto count = [&](const at::Tensor& of) { return of.logical_and(masked.chosen_bl).sum().item<double>(); };
      all += words.sum().item<double>();
      chosen += count(masked.chosen_bl);
      hidden += count(masked.tokens_bl == 4);
      same += count(masked.tokens_bl == tokens);
      if (step == 149) {
        EXPECT_EQ(guessed, chosen);
      }
    }
    // Five deviations. A random word of 40 may be the mask or the word itself.
    EXPECT_NEAR(chosen / all, 0.15, 5 * std::sqrt(0.15 * 0.85 / all));
    EXPECT_NEAR(hidden / chosen, 0.8 + 0.1 / kWordCount, 5 * std::sqrt(0.16 / chosen));
    EXPECT_NEAR(same / chosen, 0.1 + 0.1 / kWordCount, 5 * std::sqrt(0.09 / chosen));
    EXPECT_GT(chosen, 3000);
  });
}

// ---- Pairs ----

/// Match logits of every text with every picture, [texts, pictures].
at::Tensor logits_of_all_pairs(TclObjective& objective, const Batch& batch) {
  const c10::NoGradGuard no_grad;
  const auto match = *objective.encoders().match;
  const at::Tensor tokens = batch.tokens.select(1, 0), texts = match.text_states(tokens),
                   pictures = match.image_states(batch.images.select(1, 0));
  std::vector<at::Tensor> columns;
  for (std::int64_t j = 0; j < kRows; ++j)
    columns.push_back(match.score(pictures.narrow(0, j, 1).expand_as(pictures), texts, tokens));
  return at::stack(columns, 1);
}

/// The only place of `logit` in `row`; -1 if there is none or more than one.
std::int64_t place_of(double logit, const at::Tensor& row) {
  const at::Tensor near = ((row - logit).abs() < 1e-10).nonzero();
  return near.size(0) == 1 ? near[0][0].item<std::int64_t>() : -1;
}

struct Partners {
  std::int64_t rows = 0, of_equal_label = 0;
  std::set<std::pair<std::int64_t, std::int64_t>> wrong;  ///< text and picture
};

/// Looks for every row of the match logits among all pairs.
Partners partners(TclObjective& objective, const Batch& batch, bool global, Collectives& comm) {
  const at::Tensor all = logits_of_all_pairs(objective, batch), label = batch.labels;
  const std::int64_t b = kRows / comm.size(), first = comm.rank() * b;
  Partners found;
  const c10::NoGradGuard no_grad;
  const auto see_negative = [&](std::int64_t own, std::int64_t other, bool other_is_text) {
    EXPECT_NE(other, -1);
    EXPECT_NE(other, own);
    if (other < 0) return;
    EXPECT_TRUE(global || (other >= first && other < first + b)) << other;
    const auto y = label[own].item<std::int64_t>();
    found.of_equal_label += y != kNoLabel && y == label[other].item<std::int64_t>() ? 1 : 0;
    found.wrong.insert(other_is_text ? std::pair{other, own} : std::pair{own, other});
  };
  for (std::int64_t step = 0; step < 20; ++step) {
    StepScope scope = scope_of(step, comm);
    const at::Tensor logit = objective.encode(rows(batch, first, b), scope)[2].select(1, 1);
    EXPECT_EQ(logit.size(0), 3 * b);
    found.rows += logit.size(0);
    for (std::int64_t i = 0; i < b; ++i) {
      const std::int64_t own = first + i;
      EXPECT_EQ(place_of(logit[i].item<double>(), all[own]), own);
      see_negative(own, place_of(logit[b + i].item<double>(), all[own]), false);
      see_negative(own, place_of(logit[2 * b + i].item<double>(), all.select(1, own)), true);
    }
  }
  return found;
}

TEST(TclDetails, ThreePairsARowAndNegativesAreNeverPositive) {
  for (const bool global : {false, true}) {
    for (const int ranks : {1, 2}) {
      run_ranks(ranks, [&](Collectives& comm) {
        const Batch batch = distinct_captions();
        const std::string whose = global ? "global" : "local";
        TclObjective by_pair(tiny_tcl(whose), tiny_fusion_model(), tiny_facts(), in_fp64()),
            by_label(tiny_tcl(whose, "label"), tiny_fusion_model(), tiny_facts(), in_fp64());
        const auto pair = partners(by_pair, batch, global, comm), label = partners(by_label, batch, global, comm);
        EXPECT_EQ(label.rows, 20 * 3 * kRows / comm.size());
        EXPECT_EQ(label.of_equal_label, 0);
        EXPECT_GT(pair.of_equal_label, 0);  // control: such partners can be told
        EXPECT_GT(static_cast<std::int64_t>(label.wrong.size()), 3 * kRows / comm.size());  // 2 a row if not drawn
      });
    }
  }
}

// ---- Labels of the queue ----

struct QueueState {
  at::Tensor image, text, labels;
  explicit QueueState(const std::map<std::string, at::Tensor>& state)
      : image(state.at("queue.image")), text(state.at("queue.text")), labels(state.at("queue.labels")) {}
};

/// Batch and queue in one matrix: positives are the own pair and, in the first `labelled` keys, those of equal label.
double contrast_by_label(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& label_b,
                         const at::Tensor& label_k, std::int64_t labelled, const at::Tensor& taught, double alpha,
                         double temperature) {
  const at::Tensor y = label_b.unsqueeze(1), logits = query.matmul(keys.t()) / temperature;
  at::Tensor positive = (y == label_k.unsqueeze(0)).logical_and_(y != kNoLabel).to(at::kDouble);
  positive.narrow(1, labelled, keys.size(0) - labelled).fill_(0);
  positive.narrow(1, 0, kRows).diagonal().fill_(1);
  at::Tensor target = positive / positive.sum(1, true);
  if (alpha > 0) target = (1 - alpha) * target + alpha * at::softmax(taught.matmul(keys.t()) / temperature, 1);
  return -(target * at::log_softmax(logits, 1)).sum(1).mean().item<double>();
}

TEST(TclDetails, KeysOfTheQueueWithTheRowsLabelArePositives) {
  run_ranks(1, [](Collectives& comm) {
    TclObjective objective(tiny_tcl("local", "label"), tiny_fusion_model(), tiny_facts(), in_fp64());
    disturb_teacher(objective);
    Batch batch = fusion_batch();
    StepScope first = scope_of(kStep, comm), second = scope_of(kStep, comm);
    objective.accumulate(cut(batch, kRows), first);
    objective.after_update(first);
    batch.images = 255 - batch.images;
    batch.labels = batch.labels.roll(5);
    const QueueState queue(state_tensors(objective));
    EXPECT_GT((queue.labels != kNoLabel).sum().item<std::int64_t>(), 5);
    EXPECT_GT((queue.labels == kNoLabel).sum().item<std::int64_t>(), 8);
    const auto got = measured(objective, batch, kRows, second);
    objective.after_update(second);  // the teacher's embeddings of this batch: places 12 to 19 and 0 to 3
    const auto ours = [](const at::Tensor& rows) { return at::cat({rows.narrow(0, kRows, 8), rows.narrow(0, 0, 4)}); };
    const QueueState after(state_tensors(objective));
    const at::Tensor image_m = ours(after.image), text_m = ours(after.text);
    EXPECT_TRUE(at::equal(ours(after.labels), batch.labels));
    const auto student = objective.encode(batch, second);
    const double temperature = state_tensors(objective).at("temperature").item<double>();
    const at::Tensor images = at::cat({image_m, queue.image}), texts = at::cat({text_m, queue.text}),
                     labels = at::cat({batch.labels, queue.labels});
    const auto expect = [&](const char* term, const at::Tensor& query, const at::Tensor& keys, const at::Tensor& taught,
                            double alpha) {
      const auto plain = [&](std::int64_t labelled) {
        return contrast_by_label(query.detach(), keys, batch.labels, labels, labelled, taught, alpha, temperature);
      };
      EXPECT_NEAR(got.terms.at(term), plain(labels.size(0)), 1e-11) << term;
      EXPECT_GT(std::abs(got.terms.at(term) - plain(kRows)), 1e-4) << term;  // control: a queue without labels
    };
    expect("i2t", student[0], texts, image_m, 0.2);
    expect("t2i", student[1], images, text_m, 0.2);
    expect("i2i", student[0], images, {}, 0);
    expect("t2t", student[1], texts, {}, 0);
  });
}

// ---- Two forwards of a micro-batch ----

ModelConfig model_with_dropout() {
  ModelConfig model = tiny_fusion_model();
  std::get<VitConfig>(model.image).drop_path = 0.3;
  std::get<BertConfig>(model.text).dropout = 0.2;
  return model;
}

TEST(TclDetails, ASecondForwardDrawsTheSame) {
  run_ranks(1, [](Collectives& comm) {
    TclObjective objective(tiny_tcl(), model_with_dropout(), tiny_facts(), in_fp64());
    const auto encoded = [&](std::int64_t step, std::int64_t first_position, bool graph) {
      const c10::AutoGradMode mode(graph);
      StepScope scope = scope_of(step, comm);
      Batch batch = rows(fusion_batch(), 0, 6);
      batch.first_position = first_position;
      return objective.encode(batch, scope);
    };
    const auto once = encoded(kStep, 1000, false), again = encoded(kStep, 1000, true);
    for (std::size_t k = 0; k < once.size(); ++k) EXPECT_TRUE(at::equal(once[k], again[k].detach())) << k;
    for (const auto& other : {encoded(kStep + 1, 1000, false), encoded(kStep, 1006, false)})  // controls
      for (std::size_t k = 0; k < 3; ++k) EXPECT_GT(difference(once[k], other[k]), 1e-3) << k;
  });
}

/// Along a random direction, without the temperature: in the targets it is a constant.
std::map<std::string, at::Tensor> direction_of(TclObjective& objective) {
  std::map<std::string, at::Tensor> direction;
  std::uint64_t key = 0;
  for (auto& [name, tensor] : objective.module().parameters())
    if (name != "temperature") direction[name] = draw({91, ++key}, tensor.sizes());
  return direction;
}

/// Central difference of the step's loss. It sees the first forward in the alignment losses and the second in all
/// others, so it is the gradients' slope only if both draw the same.
TEST(TclDetails, WithDropoutAndMicroBatchesGradientsAreTheSlopeOfTheLoss) {
  run_ranks(1, [](Collectives& comm) {
    TclObjective objective(tiny_tcl(), model_with_dropout(), tiny_facts(), in_fp64());
    disturb_teacher(objective);
    const Batch batch = fusion_batch();
    const auto direction = direction_of(objective);
    const auto loss_at = [&](double place) {
      const auto move = [&](double by) {
        const c10::NoGradGuard no_grad;
        for (auto& [name, tensor] : objective.module().parameters())
          if (direction.contains(name)) tensor.add_(direction.at(name), by);
      };
      move(place);
      const double loss = measured(objective, batch, 6, scope_of(kStep, comm)).total;
      move(-place);
      return loss;
    };
    const auto slope_by = [&](std::uint64_t seed) {
      const auto gradients = measured(objective, batch, 6, scope_of(kStep, comm, seed)).gradients;
      double slope = 0;
      for (const auto& [name, along] : direction) slope += (gradients.at(name) * along).sum().item<double>();
      return slope;
    };
    const double step = 1e-6, slope = (loss_at(step) - loss_at(-step)) / (2 * step);
    EXPECT_GT(std::abs(slope), 0.1);
    EXPECT_NEAR(slope_by(kSeed), slope, 1e-6 * std::abs(slope));
    EXPECT_GT(std::abs(slope_by(kSeed + 1) - slope), 0.01 * std::abs(slope));  // control: other draws
  });
}

/// The teacher's, too: LMI takes the words of its second forward, and here they come from its weights and its key.
TEST(TclDetails, TheTeacherOfAMicroBatchDrawsTheSame) {
  run_ranks(1, [](Collectives& comm) {
    TclObjective objective(tiny_tcl(), model_with_dropout(), tiny_facts(), in_fp64());
    disturb_teacher(objective);
    const Batch batch = fusion_batch();
    StepScope scope = scope_of(kStep, comm);
    Copies copies(objective, model_with_dropout());
    const c10::NoGradGuard no_grad;
    const auto lmi_of = [&](Purpose purpose) {
      double mean = 0;
      for (const auto& micro : cut(batch, 6)) {
        const auto draws = scope.forward(purpose, micro.first_position, at::kCPU);
        const at::Tensor tokens = micro.tokens.select(1, 0);
        copies.teacher.visual().tokens(normalise_images(micro.images.select(1, 1), tiny_facts(), at::kDouble), draws);
        const at::Tensor states = copies.teacher.bert().text(tokens, draws);
        const LocalKeys words{unit(copies.teacher.project_text(states.narrow(1, 1, kTokens - 1))),
                              tokens.narrow(1, 1, kTokens - 1) != 0};
        mean += local_contrast_loss(objective.encode(micro, scope)[1], words, copies.student.temperature(),
                                    LocalMean::kSample)
                    .item<double>() /
                2;
      }
      return mean;
    };
    const c10::AutoGradMode grad(true);
    const auto got = measured(objective, batch, 6, scope).terms.at("lmi_text");
    EXPECT_NEAR(got, lmi_of(Purpose::kTeacher), 1e-11);
    EXPECT_GT(std::abs(got - lmi_of(Purpose::kDropout)), 1e-3);  // control: the student's draws
  });
}

}  // namespace
}  // namespace triptych

// TCL on ranks and in micro-batches against its formula, written plainly with whole matrices on the whole batch.
#include "core/objective/tcl.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/errors.h"
#include "core/model/image_preprocess.h"
#include "tests/objective/tiny_tcl.h"

namespace triptych {
namespace {

/// Words to guess, by row of the global batch.
MaskedWords forced_words(std::int64_t first_position, const at::Tensor& tokens) {
  const std::int64_t first = first_position - 1000, n = tokens.size(0);
  const at::Tensor chosen = (at::arange(kRows * kTokens).view({kRows, kTokens}).narrow(0, first, n) % 3 == 0)
                                .narrow(1, 0, tokens.size(1))
                                .logical_and(tokens > 4);
  return {at::where(chosen, at::full_like(tokens, 4), tokens), chosen};
}

/// Place of the wrong text or picture of the row at `place`, where `rows` meet.
std::int64_t forced_partner(std::int64_t place, std::int64_t rows, bool texts) {
  return (place + (texts ? 1 : 2)) % rows;
}

TclHooks forced(const TclConfig& config, std::int64_t ranks) {
  TclHooks hooks;
  hooks.mask = [](const Batch& batch, const at::Tensor& tokens) { return forced_words(batch.first_position, tokens); };
  hooks.negatives = [config, ranks](const Batch& batch, TclHooks::Side side) {
    const std::int64_t n = batch.tokens.size(0), rank = (batch.first_position - 1000) / (kRows / ranks);
    const bool global = config.negatives == "global";
    std::vector<std::int64_t> index;
    for (std::int64_t i = 0; i < n; ++i) {
      index.push_back(
          forced_partner(global ? rank * n + i : i, global ? ranks * n : n, side == TclHooks::Side::kTextsForImages));
    }
    return at::tensor(index, at::kLong);
  };
  return hooks;
}

using Terms = std::map<std::string, at::Tensor>;

/// The formula, term by term, of rows of the global batch that meet.
class PlainTcl {
 public:
  PlainTcl(Copies& copies, const Batch& batch, const TclConfig& config, double alpha)
      : copies_(copies), config_(config), alpha_(alpha), tokens_(batch.tokens.select(1, 0)), labels_(batch.labels) {
    const auto pictures = [&](int view) {
      return normalise_images(batch.images.select(1, view), tiny_facts(), at::kDouble);
    };
    auto& student = copies.student.encoders();
    image_ = student.visual().tokens(pictures(0), {});
    text_ = student.bert().text(tokens_, {});
    f_image_ = unit(student.project_image(image_.select(1, 0)));
    f_text_ = unit(student.project_text(text_.select(1, 0)));
    taught_image_ = copies.teacher.visual().tokens(pictures(1), {});
    taught_text_ = copies.teacher.bert().text(tokens_, {});
    m_image_ = unit(copies.teacher.project_image(taught_image_.select(1, 0)));
    m_text_ = unit(copies.teacher.project_text(taught_text_.select(1, 0)));
  }
  const at::Tensor& taught_images() const { return m_image_; }
  const at::Tensor& taught_texts() const { return m_text_; }

  Terms alignment(const at::Tensor& rows) const {
    const auto part = [&](const at::Tensor& t) { return t.index_select(0, rows); };
    const at::Tensor texts = at::cat({part(m_text_), copies_.text_queue}),
                     images = at::cat({part(m_image_), copies_.image_queue});
    at::Tensor positive = at::zeros({rows.size(0), texts.size(0)}, at::kDouble);
    if (config_.positives == "label") {
      const at::Tensor y = part(labels_), of_keys = at::cat({y, copies_.queue_labels});
      positive = (y.unsqueeze(1) == of_keys.unsqueeze(0)).logical_and((y >= 0).unsqueeze(1)).to(at::kDouble);
    }
    positive.narrow(1, 0, rows.size(0)).diagonal().fill_(1);
    positive = positive / positive.sum(1, true);
    const auto contrast = [&](const at::Tensor& query, const at::Tensor& keys, const at::Tensor& targets) {
      return -(targets * at::log_softmax(query.matmul(keys.t()) / tau(), 1)).sum(1).mean();
    };
    const auto soft = [&](const at::Tensor& taught, const at::Tensor& keys) {
      return (alpha_ * at::softmax(taught.matmul(keys.t()) / tau(), 1) + (1 - alpha_) * positive).detach();
    };
    return {{"i2t", contrast(part(f_image_), texts, soft(part(m_image_), texts))},
            {"t2i", contrast(part(f_text_), images, soft(part(m_text_), images))},
            {"i2i", contrast(part(f_image_), images, positive)},
            {"t2t", contrast(part(f_text_), texts, positive)}};
  }

  /// Double loop over the definition.
  Terms locals(const at::Tensor& rows) const {
    const at::Tensor patch = unit(copies_.teacher.project_image(taught_image_.narrow(1, 1, 16))).transpose(1, 2);
    const at::Tensor cells =
        at::avg_pool2d(patch.reshape({kRows, -1, 4, 4}), {2, 2}).flatten(2).transpose(1, 2);  // [B, 4, d]
    const at::Tensor words = unit(copies_.teacher.project_text(taught_text_.narrow(1, 1, kTokens - 1)));
    const at::Tensor valid = tokens_.narrow(1, 1, kTokens - 1) != 0;
    at::Tensor image = at::zeros({}, at::kDouble), text = image;
    for (const std::int64_t i : numbers(rows)) {
      image = image + of_sample(f_image_[i], cells, at::ones({kRows, 4}, at::kBool), rows, i);
      text = text + of_sample(f_text_[i], words, valid, rows, i);
    }
    const auto count = static_cast<double>(rows.size(0));
    return {{"lmi_image", image / count}, {"lmi_text", text / count}};
  }

  /// Accuracy is a mean over parts of `each` rows: of a rank and micro-batch.
  Terms matching(const at::Tensor& rows, std::int64_t each) const {
    const std::int64_t n = rows.size(0);
    std::vector<at::Tensor> losses, rights, weights;
    for (const auto& [text, image] : std::vector<std::pair<bool, bool>>{{false, false}, {false, true}, {true, false}}) {
      const auto partners = [&](bool wrong, bool texts) {
        std::vector<std::int64_t> place;
        for (std::int64_t i = 0; i < n; ++i) place.push_back(wrong ? forced_partner(i, n, texts) : i);
        return rows.index_select(0, at::tensor(place, at::kLong));
      };
      const at::Tensor t = partners(text, true), v = partners(image, false);
      const at::Tensor fused = copies_.student.encoders().bert().fused(
          text_.index_select(0, t), tokens_.index_select(0, t), image_.index_select(0, v), {});
      const at::Tensor logits = at::log_softmax(copies_.student.match_logits(fused.select(1, 0)), 1);
      const std::int64_t right = text || image ? 0 : 1;
      losses.push_back(-logits.select(1, right));
      rights.push_back((logits.argmax(1) == right).to(at::kDouble));
      weights.push_back(text || image ? with_partner(rows) : at::ones({n}, at::kDouble));
    }
    const at::Tensor weight = at::stack(weights), accuracy = (at::stack(rights) * weight).view({3, -1, each});
    return {{"itm", (at::stack(losses) * weight).mean()},
            {"itm_accuracy", (accuracy.sum({2, 0}) / weight.view({3, -1, each}).sum({2, 0})).mean()}};
  }

  /// Mean over the words that are to be guessed in these rows.
  Terms words(const at::Tensor& rows) const {
    const auto part = [&](const at::Tensor& t) { return t.index_select(0, rows); };
    const auto masked = forced_words(1000, tokens_);
    const at::Tensor tokens = part(masked.tokens_bl), chosen = part(masked.chosen_bl).flatten().to(at::kDouble);
    const auto logits = [&](const AlignedEncoders& model, const at::Tensor& image) {
      return model.bert().word_logits(
          model.bert().fused(model.bert().text(tokens, {}), tokens, image, {}).flatten(0, 1));
    };
    const at::Tensor student = at::log_softmax(logits(copies_.student.encoders(), part(image_)), 1);
    const at::Tensor taught = at::softmax(logits(copies_.teacher, part(taught_image_)), 1).detach();
    const at::Tensor hard = student.gather(1, part(tokens_).reshape({-1, 1})).squeeze(1);
    const at::Tensor each = (1 - alpha_) * hard + alpha_ * (taught * student).sum(1);
    return {{"mlm", -(each * chosen).sum() / chosen.sum()}};
  }

 private:
  static std::vector<std::int64_t> numbers(const at::Tensor& rows) {
    return {rows.data_ptr<std::int64_t>(), rows.data_ptr<std::int64_t>() + rows.size(0)};
  }
  at::Tensor tau() const { return copies_.student.temperature(); }
  /// 1 where a row meets one that may be its wrong partner, else 0.
  at::Tensor with_partner(const at::Tensor& rows) const {
    if (config_.positives == "pair") return at::ones(rows.sizes(), at::kDouble);
    at::Tensor with = at::zeros(rows.sizes(), at::kDouble);
    const at::Tensor y = labels_.index_select(0, rows);
    for (std::int64_t i = 0; i < rows.size(0); ++i)
      for (std::int64_t j = 0; j < rows.size(0); ++j)
        if (i != j && (y[i].item<std::int64_t>() < 0 || !at::equal(y[i], y[j]))) with[i] = 1;
    return with;
  }
  at::Tensor of_sample(const at::Tensor& global, const at::Tensor& local, const at::Tensor& valid,
                       const at::Tensor& rows, std::int64_t i) const {
    at::Tensor sum = at::zeros({}, at::kDouble), others = at::zeros({}, at::kDouble);
    for (const std::int64_t j : numbers(rows)) {
      for (std::int64_t l = 0; l < local.size(1); ++l)
        if (j != i && valid[j][l].item<bool>()) others = others + (global.dot(local[j][l]) / tau()).exp();
    }
    double count = 0;
    for (std::int64_t l = 0; l < local.size(1); ++l) {
      if (!valid[i][l].item<bool>()) continue;
      const at::Tensor e = (global.dot(local[i][l]) / tau()).exp();
      sum = sum - (e / (e + others)).log();
      ++count;
    }
    return count == 0 ? sum : sum / count;
  }

  Copies& copies_;
  TclConfig config_;
  double alpha_;
  at::Tensor tokens_, labels_, image_, text_, f_image_, f_text_, taught_image_, taught_text_, m_image_, m_text_;
};

/// Which rows meet in which terms, as indices of the global batch in the order of the ranks.
struct Meetings {
  std::vector<at::Tensor> alignment, pairs, words;
  std::int64_t micro_batch;
};

Meetings meetings(std::int64_t ranks, std::int64_t micro_batch, const std::string& negatives) {
  const at::Tensor by_rank = at::arange(kRows, at::kLong).view({ranks, -1});  // [ranks, b]
  if (negatives == "local")
    return {by_rank.unbind(0), by_rank.reshape({-1, micro_batch}).unbind(0), by_rank.unbind(0), micro_batch};
  Meetings all{{by_rank.flatten()}, {}, {by_rank.flatten()}, micro_batch};
  for (const auto& micro : by_rank.split(micro_batch, 1)) all.pairs.push_back(micro.reshape({-1}));
  return all;
}

Terms terms_of(const PlainTcl& plain, const Meetings& meet) {
  Terms terms;
  const auto add = [&](const Terms& some, std::size_t parts) {
    for (const auto& [name, value] : some) {
      const at::Tensor share = value / static_cast<double>(parts);
      terms[name] = terms.contains(name) ? terms[name] + share : share;
    }
  };
  for (const auto& rows : meet.alignment) add(plain.alignment(rows), meet.alignment.size());
  for (const auto& rows : meet.pairs) add(plain.locals(rows), meet.pairs.size());
  for (const auto& rows : meet.pairs) add(plain.matching(rows, meet.micro_batch), meet.pairs.size());
  for (const auto& rows : meet.words) add(plain.words(rows), meet.words.size());
  return terms;
}

at::Tensor total_of(const Terms& terms) {
  at::Tensor total = terms.at("itm") + terms.at("mlm");
  for (const char* name : {"i2t", "t2i", "i2i", "t2t", "lmi_image", "lmi_text"}) total = total + terms.at(name) / 6;
  return total;
}

// ---- Three steps: alpha is 0, half way, and at its end; 12 rows of a queue of 20 wrap in the second ----

constexpr double kDescent = 0.01;
constexpr std::int64_t kClocks[] = {0, 4, 12};  // alpha rises in 8 steps
constexpr double kRamp[] = {0, 0.5, 1};
constexpr std::size_t kTclSteps = 3;

/// In the third step the first three rows have one label: none of them is a wrong partner of another.
Batch batch_of_step(std::size_t step) {
  Batch batch = fusion_batch();
  if (step == 0) return batch;
  batch.images = step == 1 ? 255 - batch.images : batch.images.roll(2, 0);
  batch.tokens = batch.tokens.roll(static_cast<std::int64_t>(step), 0);
  batch.labels = batch.labels.roll(5);
  if (step == 2) batch.labels.narrow(0, 0, 3).fill_(2);
  return batch;
}

TclConfig three_steps(const std::string& negatives, const std::string& positives = "pair") {
  auto config = tiny_tcl(negatives, positives);
  config.momentum = 0.8;
  return config;
}

/// What a step left: on a rank, or by the formula.
struct StepLeft {
  double total = 0;
  std::map<std::string, double> terms;
  Gradients gradients;
  std::map<std::string, at::Tensor> state;
};

void descend(Module& model) {
  const c10::NoGradGuard no_grad;
  for (auto& [name, tensor] : model.parameters()) tensor.sub_(tensor.grad(), kDescent);
}

std::unique_ptr<TclObjective> start_of(const TclConfig& config) {
  auto objective = std::make_unique<TclObjective>(config, tiny_fusion_model(), tiny_facts(), in_fp64());
  disturb_teacher(*objective);
  return objective;
}

/// One rank's steps through the real GradientSync.
std::vector<StepLeft> steps_of_rank(Collectives& comm, std::int64_t micro_batch, const TclConfig& config) {
  const auto objective = start_of(config);
  objective->prescribe(forced(config, comm.size()));
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : objective->module().parameters()) {
    names.push_back(name);
    tensors.push_back(tensor);
  }
  GradientSync sync(objective->sync_form(), names, tensors, comm, {.first_bucket_bytes = 4000, .bucket_bytes = 16000});
  const std::int64_t b = kRows / comm.size();
  std::vector<StepLeft> left(kTclSteps);
  for (std::size_t step = 0; step < kTclSteps; ++step) {
    StepScope scope({.step = kClocks[step], .samples_seen = 1000, .epoch = 0}, kSeed, kFp64, comm, &sync);
    sync.zero_grad();
    sync.before_forward();
    objective->begin_step(scope);
    const auto report = objective->accumulate(cut(rows(batch_of_step(step), comm.rank() * b, b), micro_batch), scope);
    sync.finish();
    left[step].gradients = gradients_of(objective->module());
    descend(objective->module());
    objective->after_update(scope);
    left[step].total = report.total.item<double>();
    for (const auto& term : report.terms) left[step].terms[term.name] = term.value.item<double>();
    left[step].state = state_tensors(*objective);
  }
  return left;
}

std::vector<std::vector<StepLeft>> steps_on_ranks(int ranks, std::int64_t micro_batch, const TclConfig& config) {
  std::vector<std::vector<StepLeft>> left(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Collectives& comm) {
    left[static_cast<std::size_t>(comm.rank())] = steps_of_rank(comm, micro_batch, config);
  });
  return left;
}

/// The same steps in one piece, from the same start and never from what the ranks made: momentum, losses, descent,
/// queue.
std::vector<StepLeft> steps_by_formula(const Meetings& meet, const TclConfig& config) {
  Copies copies(*start_of(config));
  std::vector<StepLeft> left(kTclSteps);
  for (std::size_t step = 0; step < kTclSteps; ++step) {
    const Batch batch = batch_of_step(step);
    copies.follow(config.momentum);
    for (auto& [name, tensor] : copies.student.parameters()) tensor.mutable_grad() = at::Tensor();
    const PlainTcl plain(copies, batch, config, kRamp[step] * config.alpha);
    const Terms terms = terms_of(plain, meet);
    const at::Tensor total = total_of(terms);
    total.backward();
    left[step].total = total.item<double>();
    for (const auto& [name, value] : terms) left[step].terms[name] = value.item<double>();
    left[step].gradients = gradients_of(copies.student);
    descend(copies.student);
    copies.push(static_cast<std::int64_t>(step) * kRows, plain.taught_images(), plain.taught_texts(), batch.labels);
    left[step].state = copies.state();
  }
  return left;
}

void expect_near(const std::map<std::string, at::Tensor>& got, const std::map<std::string, at::Tensor>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    if (tensor.is_floating_point()) {
      EXPECT_LT(difference(got.at(name), tensor), 1e-9) << name;
    } else {
      EXPECT_TRUE(at::equal(got.at(name), tensor)) << name;
    }
  }
}

void expect_formula(int ranks, std::int64_t micro_batch, const TclConfig& config) {
  SCOPED_TRACE(config.negatives + " " + config.positives + ", " + std::to_string(ranks) + " ranks, micro-batches of " +
               std::to_string(micro_batch));
  const auto got = steps_on_ranks(ranks, micro_batch, config);
  const auto expected = steps_by_formula(meetings(ranks, micro_batch, config.negatives), config);
  for (std::size_t step = 0; step < kTclSteps; ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    double total = 0;
    std::map<std::string, double> terms;
    for (const auto& rank : got) {
      total += rank[step].total / ranks;
      for (const auto& [name, value] : rank[step].terms) terms[name] += value / ranks;
      for (const auto& [name, tensor] : rank[step].state)
        EXPECT_TRUE(at::equal(tensor, got[0][step].state.at(name))) << name;  // to the bit
    }
    EXPECT_NEAR(total, expected[step].total, 1e-9);
    EXPECT_EQ(terms.size(), expected[step].terms.size());
    for (const auto& [name, value] : expected[step].terms) EXPECT_NEAR(terms[name], value, 1e-9) << name;
    EXPECT_LT(difference(got[0][step].gradients, expected[step].gradients), 1e-9);
    EXPECT_GT(got[0][step].gradients.at("temperature").abs().item<double>(), 1e-4);
    expect_near(got[0][step].state, expected[step].state);
  }
}

TEST(Tcl, LocalNegativesAreTheMeanOfEachRanksFormula) {
  for (const char* positives : {"pair", "label"})
    for (const int ranks : {1, 2, 3, 4}) expect_formula(ranks, kRows / ranks, three_steps("local", positives));
}

TEST(Tcl, GlobalNegativesAreTheFormulaOfTheWholeBatch) {
  for (const char* positives : {"pair", "label"})
    for (const int ranks : {1, 2, 3, 4}) expect_formula(ranks, kRows / ranks, three_steps("global", positives));
}

/// They share the alignment and the words' mean.
TEST(Tcl, MicroBatchesOnOneAndTwoRanksAreTheFormula) {
  for (const char* negatives : {"local", "global"}) {
    expect_formula(1, 4, three_steps(negatives));
    for (const char* positives : {"pair", "label"}) expect_formula(2, 3, three_steps(negatives, positives));
  }
}

/// Largest difference of any term and of any tensor of the state, in the last step.
std::pair<double, double> apart(const StepLeft& a, const StepLeft& b) {
  double terms = 0, state = 0;
  for (const auto& [name, value] : a.terms) terms = std::max(terms, std::abs(value - b.terms.at(name)));
  for (const auto& [name, tensor] : a.state)
    if (tensor.is_floating_point()) state = std::max(state, difference(tensor, b.state.at(name)));
  return {terms, state};
}

/// Negative controls: formulas that are slightly wrong are told apart.
TEST(TclControl, AWrongFormulaIsNoticed) {
  const auto config = three_steps("local", "label");
  const auto meet = meetings(2, 3, "local"), wider = meetings(2, 3, "global");
  const auto right = steps_by_formula(meet, config);
  const auto expect_seen = [&](const char* mistake, const Meetings& how, const TclConfig& wrong) {
    const auto [terms, state] = apart(right.back(), steps_by_formula(how, wrong).back());
    EXPECT_GT(terms, 1e-6) << mistake;
    EXPECT_GT(state, 1e-6) << mistake;
  };
  expect_seen("alignment over all ranks", {wider.alignment, meet.pairs, meet.words, 3}, config);
  expect_seen("pairs of all ranks", {meet.alignment, wider.pairs, meet.words, 3}, config);
  expect_seen("one mean of all words", {meet.alignment, meet.pairs, wider.words, 3}, config);
  auto wrong = config;
  wrong.alpha = 0.3;
  expect_seen("alpha", meet, wrong);
  wrong = config;
  wrong.momentum = 0.81;
  expect_seen("momentum", meet, wrong);
  wrong = config;
  wrong.positives = "pair";
  expect_seen("labels", meet, wrong);
}

std::map<std::string, at::Tensor> teacher_of(TclObjective& objective) {
  std::map<std::string, at::Tensor> weights;
  const Copies copies(objective);
  for (const auto& [name, tensor] : copies.teacher.parameters()) weights[name] = tensor.clone();
  return weights;
}

TEST(Tcl, TheTeacherFollowsTheStudentOfTheLastUpdate) {
  run_ranks(1, [](Collectives& comm) {
    TclObjective objective(tiny_tcl(), tiny_fusion_model(), tiny_facts(), in_fp64());
    StepScope scope({}, kSeed, kFp64, comm, nullptr);
    const auto start = teacher_of(objective);
    objective.begin_step(scope);
    for (const auto& [name, tensor] : teacher_of(objective))
      EXPECT_LT(difference(tensor, start.at(name)), 1e-15) << name;
    std::map<std::string, at::Tensor> moved;
    for (auto& [name, tensor] : objective.module().parameters()) {
      const c10::NoGradGuard no_grad;
      moved[name] = tensor.add_(1).clone();
    }
    objective.begin_step(scope);
    for (const auto& [name, tensor] : teacher_of(objective))
      EXPECT_LT(difference(tensor, 0.995 * start.at(name) + 0.005 * moved.at(name)), 1e-14) << name;
    EXPECT_DOUBLE_EQ(Copies(objective).student.temperature().item<double>(), 0.5);  // clamped
  });
}

TEST(EmbeddingQueue, WrapsAroundForAnySizeOfBatch) {
  EmbeddingQueue queue(7, 2, 1, at::TensorOptions().dtype(at::kDouble));
  EXPECT_LT(difference(queue.image().norm(2, 1), at::ones({7}, at::kDouble)), 1e-12);
  EXPECT_TRUE(at::equal(queue.labels(), at::full({7}, kNoLabel, at::kLong)));
  const auto rows = [](std::int64_t first, std::int64_t n) {
    return at::arange(first, first + n, at::kDouble).unsqueeze(1).expand({n, 2}).contiguous();
  };
  for (std::int64_t step = 0; step < 5; ++step)
    queue.push(rows(3 * step, 3), -rows(3 * step, 3), at::arange(3 * step, 3 * step + 3));
  // 15 rows went in: place p holds the last of p, p + 7, p + 14.
  const at::Tensor last = at::tensor({14, 8, 9, 10, 11, 12, 13}, at::kLong);
  EXPECT_TRUE(at::equal(queue.labels(), last));
  EXPECT_TRUE(at::equal(queue.image().select(1, 0), last.to(at::kDouble)));
  EXPECT_TRUE(at::equal(queue.text().select(1, 1), -last.to(at::kDouble)));
  EXPECT_EQ(queue.next(), 1);
  EXPECT_ANY_THROW(queue.push(rows(0, 8), rows(0, 8), at::arange(8)));
}

void expect_refused(const TclConfig& config, const ModelConfig& model, const std::string& part) {
  try {
    TclObjective objective(config, model, tiny_facts(), in_fp64());
    ADD_FAILURE() << "accepted: " << part;
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Tcl, SettingsThatCannotWorkAreRefused) {
  auto model = tiny_fusion_model();
  model.fusion.reset();
  expect_refused(tiny_tcl(), model, "model.fusion");
  model = tiny_fusion_model();
  model.text = CausalTransformerConfig{};
  expect_refused(tiny_tcl(), model, "model.text.type");
  model = tiny_fusion_model();
  model.image = SwinConfig{};
  expect_refused(tiny_tcl(), model, "model.image.type");
  model = tiny_fusion_model();
  std::get<VitConfig>(model.image).patch_dropout = 0.5;
  expect_refused(tiny_tcl(), model, "patch_dropout");
  model = tiny_fusion_model();
  model.init_logit_scale = 1;
  expect_refused(tiny_tcl(), model, "init_logit_scale");
  auto config = tiny_tcl();
  config.lmi.cells = 5;  // of 4 x 4 patches
  expect_refused(config, tiny_fusion_model(), "objective.lmi.cells");
  config.lmi = {.cells = 4, .pool = "published"};
  model = tiny_fusion_model();
  std::get<VitConfig>(model.image).image_size = 16;  // 8 x 8: the release's pooling fails there
  expect_refused(config, model, "objective.lmi.pool");
}

TEST(Tcl, GridsAreCheckedOnlyWhereLocalsAreTrained) {
  auto config = tiny_tcl();
  config.weights.lmi = 0;
  config.lmi.cells = 5;  // of 4 x 4 patches
  EXPECT_NO_THROW(TclObjective(config, tiny_fusion_model(), tiny_facts(), in_fp64()));
  config.lmi = {.cells = 4, .pool = "published"};
  auto model = tiny_fusion_model();
  std::get<VitConfig>(model.image).image_size = 16;
  EXPECT_NO_THROW(TclObjective(config, model, tiny_facts(), in_fp64()));
}

TEST(Tcl, OtherObjectivesRefuseAFusionEncoder) {
  EXPECT_THROW(make_objective(ClipConfig{}, tiny_fusion_model(), tiny_facts(), in_fp64()), ConfigError);
}

}  // namespace
}  // namespace triptych

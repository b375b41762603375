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

/// What is drawn, by row of the global batch: words to guess, and partners that do not match.
MaskedWords forced_words(std::int64_t first_position, const at::Tensor& tokens) {
  const std::int64_t first = first_position - 1000, n = tokens.size(0);
  const at::Tensor chosen = (at::arange(kRows * kTokens).view({kRows, kTokens}).narrow(0, first, n) % 3 == 0)
                                .narrow(1, 0, tokens.size(1))
                                .logical_and(tokens > 4);
  return {at::where(chosen, at::full_like(tokens, 4), tokens), chosen};
}
std::int64_t forced_partner(std::int64_t row, std::int64_t first, std::int64_t rows, bool texts) {
  return first + (row - first + (texts ? 1 : 2)) % rows;
}

/// Rows that see each other: [first, first + count) of the global batch.
struct Group {
  std::int64_t first, count;
};

/// The formula of a rank whose rows for alignment are `aligned` and whose pairs and locals meet in `groups`.
class PlainTcl {
 public:
  PlainTcl(Copies& copies, const Batch& batch, const TclConfig& config)
      : copies_(copies), config_(config), tokens_(batch.tokens.select(1, 0)), labels_(batch.labels) {
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

  at::Tensor alignment(const Group& rows) const {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, rows.first, rows.count); };
    const at::Tensor texts = at::cat({part(m_text_), copies_.text_queue}),
                     images = at::cat({part(m_image_), copies_.image_queue});
    const at::Tensor own = at::eye(rows.count, texts.size(0), at::kDouble);
    at::Tensor positive = own;
    if (config_.positives == "label") {
      const at::Tensor y = part(labels_);
      const at::Tensor same = (y.unsqueeze(1) == y.unsqueeze(0)).logical_and((y >= 0).unsqueeze(1)).to(at::kDouble);
      positive = at::cat(
          {at::maximum(same, own.narrow(1, 0, rows.count)), at::zeros({rows.count, kQueueRows}, at::kDouble)}, 1);
    }
    positive = positive / positive.sum(1, true);
    const double alpha = 0.5 * config_.alpha;
    const auto contrast = [&](const at::Tensor& query, const at::Tensor& keys, const at::Tensor& targets) {
      return -(targets * at::log_softmax(query.matmul(keys.t()) / tau(), 1)).sum(1).mean();
    };
    const auto soft = [&](const at::Tensor& taught, const at::Tensor& keys) {
      return (alpha * at::softmax(taught.matmul(keys.t()) / tau(), 1) + (1 - alpha) * positive).detach();
    };
    return (contrast(part(f_image_), texts, soft(part(m_image_), texts)) +
            contrast(part(f_text_), images, soft(part(m_text_), images)) + contrast(part(f_image_), images, positive) +
            contrast(part(f_text_), texts, positive)) /
           6;
  }

  /// Double loop over the definition.
  at::Tensor locals(const Group& rows) const {
    const at::Tensor patch = unit(copies_.teacher.project_image(taught_image_.narrow(1, 1, 16))).transpose(1, 2);
    const at::Tensor cells =
        at::avg_pool2d(patch.reshape({kRows, -1, 4, 4}), {2, 2}).flatten(2).transpose(1, 2);  // [B, 4, d]
    const at::Tensor words = unit(copies_.teacher.project_text(taught_text_.narrow(1, 1, kTokens - 1)));
    const at::Tensor valid = tokens_.narrow(1, 1, kTokens - 1) != 0;
    at::Tensor image = at::zeros({}, at::kDouble), text = image;
    for (std::int64_t i = rows.first; i < rows.first + rows.count; ++i) {
      image = image + of_sample(f_image_[i], cells, at::ones({kRows, 4}, at::kBool), rows, i);
      text = text + of_sample(f_text_[i], words, valid, rows, i);
    }
    return (image + text) / static_cast<double>(rows.count) / 6;
  }

  at::Tensor matching(const Group& rows) const {
    std::vector<std::int64_t> wrong_text, wrong_image, own;
    for (std::int64_t i = rows.first; i < rows.first + rows.count; ++i) {
      own.push_back(i);
      wrong_text.push_back(forced_partner(i, rows.first, rows.count, true));
      wrong_image.push_back(forced_partner(i, rows.first, rows.count, false));
    }
    const auto logits = [&](const std::vector<std::int64_t>& text, const std::vector<std::int64_t>& image) {
      const at::Tensor t = at::tensor(text, at::kLong), v = at::tensor(image, at::kLong);
      const at::Tensor fused = copies_.student.encoders().bert().fused(
          text_.index_select(0, t), tokens_.index_select(0, t), image_.index_select(0, v), {});
      return at::log_softmax(copies_.student.match_logits(fused.select(1, 0)), 1);
    };
    return -(logits(own, own).select(1, 1) + logits(own, wrong_image).select(1, 0) +
             logits(wrong_text, own).select(1, 0))
                .mean() /
           3;
  }

  /// Mean over the words that are to be guessed in these rows.
  at::Tensor words(const Group& rows) const {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, rows.first, rows.count); };
    const auto masked = forced_words(1000 + rows.first, part(tokens_));
    const auto logits = [&](const AlignedEncoders& model, const at::Tensor& image) {
      const at::Tensor states = model.bert().text(masked.tokens_bl, {});
      return model.bert().word_logits(model.bert().fused(states, masked.tokens_bl, image, {}).flatten(0, 1));
    };
    const at::Tensor student = at::log_softmax(logits(copies_.student.encoders(), part(image_)), 1);
    const at::Tensor taught = at::softmax(logits(copies_.teacher, part(taught_image_)), 1).detach();
    const at::Tensor hard = student.gather(1, part(tokens_).reshape({-1, 1})).squeeze(1);
    const double alpha = 0.5 * config_.alpha;
    const at::Tensor each = (1 - alpha) * hard + alpha * (taught * student).sum(1);
    const at::Tensor chosen = masked.chosen_bl.flatten().to(at::kDouble);
    return -(each * chosen).sum() / chosen.sum();
  }

 private:
  at::Tensor tau() const { return copies_.student.temperature(); }
  at::Tensor of_sample(const at::Tensor& global, const at::Tensor& local, const at::Tensor& valid, const Group& rows,
                       std::int64_t i) const {
    at::Tensor sum = at::zeros({}, at::kDouble), others = at::zeros({}, at::kDouble);
    for (std::int64_t j = rows.first; j < rows.first + rows.count; ++j) {
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
  at::Tensor tokens_, labels_, image_, text_, f_image_, f_text_, taught_image_, taught_text_, m_image_, m_text_;
};

TclHooks forced(const TclConfig& config, std::int64_t ranks_rows) {
  TclHooks hooks;
  hooks.mask = [](const Batch& batch, const at::Tensor& tokens) { return forced_words(batch.first_position, tokens); };
  hooks.negatives = [config, ranks_rows](const Batch& batch, TclHooks::Side side) {
    const bool texts = side == TclHooks::Side::kTextsForImages, all = config.negatives == "global";
    const std::int64_t n = batch.tokens.size(0), start = batch.first_position - 1000;
    std::vector<std::int64_t> index;
    for (std::int64_t i = start; i < start + n; ++i)
      index.push_back(all ? forced_partner(i, 0, ranks_rows, texts) : forced_partner(i, start, n, texts) - start);
    return at::tensor(index, at::kLong);
  };
  return hooks;
}

struct TclStep {
  double loss = 0;
  Gradients gradients;
  std::vector<at::Tensor> queues;  ///< of each rank, after the update
};

/// A step of `size` ranks. `copies`: of rank 0's state when its losses are computed.
TclStep tcl_step(int size, std::int64_t micro_batch, const TclConfig& config, std::unique_ptr<Copies>& copies) {
  TclStep result;
  std::vector<double> losses(static_cast<std::size_t>(size));
  result.queues.resize(static_cast<std::size_t>(size));
  run_ranks(size, [&](Collectives& comm) {
    TclObjective objective(config, tiny_fusion_model(), tiny_facts(), in_fp64());
    disturb_teacher(objective);
    const std::int64_t b = kRows / size;
    objective.prescribe(forced(config, kRows));
    std::vector<std::string> names;
    std::vector<at::Tensor> tensors;
    for (const auto& [name, tensor] : objective.module().parameters()) {
      names.push_back(name);
      tensors.push_back(tensor);
    }
    GradientSync sync(objective.sync_form(), names, tensors, comm, {.first_bucket_bytes = 4000, .bucket_bytes = 16000});
    StepScope scope({.step = kStep, .samples_seen = 1000, .epoch = 0}, kSeed, kFp64, comm, &sync);
    sync.zero_grad();
    sync.before_forward();
    objective.begin_step(scope);
    if (comm.rank() == 0) copies = std::make_unique<Copies>(objective);
    const auto report = objective.accumulate(cut(rows(fusion_batch(), comm.rank() * b, b), micro_batch), scope);
    sync.finish();
    objective.after_update(scope);
    const auto rank = static_cast<std::size_t>(comm.rank());
    losses[rank] = report.total.item<double>();
    result.queues[rank] = Copies(objective).image_queue;
    if (rank == 0) result.gradients = gradients_of(objective.module());
  });
  for (const double loss : losses) result.loss += loss / size;
  return result;
}

struct Expected {
  double loss;
  Gradients gradients;
};
Expected differentiated(Copies& copies, const at::Tensor& loss) {
  loss.backward();
  return {loss.item<double>(), gradients_of(copies.student)};
}

void expect_equal(const TclStep& got, const Expected& expected, const std::string& where) {
  EXPECT_NEAR(got.loss, expected.loss, 1e-9) << where;
  EXPECT_LT(difference(got.gradients, expected.gradients), 1e-9) << where;
  EXPECT_GT(got.gradients.at("temperature").abs().item<double>(), 1e-3) << where;
  for (const auto& queue : got.queues) EXPECT_TRUE(at::equal(queue, got.queues[0])) << where;
}

TEST(Tcl, LocalNegativesAreTheMeanOfEachRanksFormula) {
  for (const char* positives : {"pair", "label"}) {
    for (const int ranks : {1, 2, 3, 4}) {
      const auto config = tiny_tcl("local", positives);
      std::unique_ptr<Copies> copies;
      const auto got = tcl_step(ranks, kRows / ranks, config, copies);
      const PlainTcl plain(*copies, fusion_batch(), config);
      at::Tensor loss = at::zeros({}, at::kDouble);
      for (int rank = 0; rank < ranks; ++rank) {
        const Group own{rank * kRows / ranks, kRows / ranks};
        loss = loss + (plain.alignment(own) + plain.locals(own) + plain.matching(own) + plain.words(own)) / ranks;
      }
      expect_equal(got, differentiated(*copies, loss), std::string(positives) + " " + std::to_string(ranks));
    }
  }
}

TEST(Tcl, GlobalNegativesAreTheFormulaOfTheWholeBatch) {
  const Group all{0, kRows};
  for (const char* positives : {"pair", "label"}) {
    for (const int ranks : {1, 2, 3, 4}) {
      const auto config = tiny_tcl("global", positives);
      std::unique_ptr<Copies> copies;
      const auto got = tcl_step(ranks, kRows / ranks, config, copies);
      const PlainTcl plain(*copies, fusion_batch(), config);
      const at::Tensor loss = plain.alignment(all) + plain.locals(all) + plain.matching(all) + plain.words(all);
      expect_equal(got, differentiated(*copies, loss), std::string(positives) + " " + std::to_string(ranks));
    }
  }
}

TEST(Tcl, MicroBatchesShareTheAlignmentAndTheWordsMean) {
  const Group all{0, kRows};
  const auto config = tiny_tcl();
  std::unique_ptr<Copies> copies;
  const auto got = tcl_step(1, 4, config, copies);
  const PlainTcl plain(*copies, fusion_batch(), config);
  at::Tensor loss = plain.alignment(all) + plain.words(all);
  for (std::int64_t first = 0; first < kRows; first += 4) {
    const Group micro{first, 4};
    loss = loss + (plain.locals(micro) + plain.matching(micro)) / 3;
  }
  expect_equal(got, differentiated(*copies, loss), "three micro-batches");
}

/// Negative controls: formulas that are slightly wrong are told apart.
TEST(TclControl, AWrongFormulaIsNoticed) {
  const Group all{0, kRows};
  const auto config = tiny_tcl();
  for (const int mistake : {0, 1, 2}) {
    std::unique_ptr<Copies> copies;
    const auto got = tcl_step(2, kRows / 2, config, copies);
    auto wrong = config;
    if (mistake == 1) wrong.alpha = 0.3;
    const PlainTcl plain(*copies, fusion_batch(), wrong);
    at::Tensor loss = at::zeros({}, at::kDouble);
    for (const Group own : {Group{0, 6}, Group{6, 6}}) {
      loss = loss + (plain.alignment(mistake == 0 ? all : own) + plain.locals(own) + plain.matching(own) +
                     (mistake == 2 ? plain.words(all) : plain.words(own))) /
                        2;
    }
    EXPECT_GT(difference(got.gradients, differentiated(*copies, loss).gradients), 1e-6) << mistake;
  }
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

TEST(Tcl, OtherObjectivesRefuseAFusionEncoder) {
  EXPECT_THROW(make_objective(ClipConfig{}, tiny_fusion_model(), tiny_facts(), in_fp64()), ConfigError);
}

}  // namespace
}  // namespace triptych

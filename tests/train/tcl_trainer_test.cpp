// TCL by the trainer: a teacher that breaks, towers that are frozen, and pairs that are learnt by heart.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <map>
#include <memory>

#include "core/base/errors.h"
#include "core/eval/rerank.h"
#include "core/eval/top_counts.h"
#include "core/objective/objective_table.h"
#include "core/train/trainer.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

constexpr std::int64_t kPairTokens = 3, kPairWords = 24, kColours = 8;

TrainConfig tcl_config(std::int64_t pairs, std::int64_t steps_in_all) {
  TrainConfig config;
  config.model.image =
      VitConfig{.image_size = 16, .patch_size = 8, .width = 32, .depth = 2, .heads = 2, .form = "timm"};
  config.model.text = BertConfig{.context = kPairTokens,
                                 .width = 32,
                                 .depth = 1,
                                 .heads = 2,
                                 .vocabulary = kPairWords,
                                 .dropout = 0,
                                 .positions = kPairTokens,
                                 .end_token = false};
  config.model.fusion = FusionConfig{.depth = 2};
  config.model.embed_dim = 16;
  TclConfig tcl;
  tcl.queue = pairs;
  tcl.lmi.cells = 2;
  tcl.momentum = 0.9;
  tcl.positives = "label";
  tcl.start_word = 2;
  tcl.end_word = 3;
  tcl.mask_word = 4;
  config.objective = tcl;
  config.train.global_batch = pairs;
  config.train.max_skipped_steps = 2;
  config.optimizer.lr = 6e-3;
  config.schedule.total = steps(steps_in_all);
  config.schedule.warmup = steps(5);
  return config;
}

/// Up to 64 pairs: a picture has one of eight colours on its left and one on its right, and its caption names both. The
/// two views differ by noise. A pair's label is its number, so that its own rows of earlier steps are no negatives.
Batch colour_pairs(std::int64_t pairs, std::int64_t step) {
  const at::Tensor pair = at::arange(pairs), left = pair % kColours, right = pair.div(kColours, "floor");
  const auto rgb = [](const at::Tensor& colour) {
    return 60 + 140 * at::stack({colour % 2, colour.div(2, "floor") % 2, colour.div(4, "floor")}, 1).to(at::kDouble);
  };
  const at::Tensor halves = at::stack({rgb(left), rgb(right)}, 1).view({pairs, 1, 1, 2, 3}).repeat_interleave(8, 3);
  const at::Tensor noise = 5 * draw({502, static_cast<std::uint64_t>(step)}, {pairs, 2, 16, 16, 3});
  Batch batch;
  batch.images = (halves + noise).clamp(0, 255).to(at::kByte);
  batch.tokens = at::stack({at::full_like(pair, 2), 5 + left, 5 + kColours + right}, 1).unsqueeze(1);
  batch.labels = batch.sample_ids = pair;
  batch.first_position = step * pairs;
  return batch;
}

Batch part_of(const Batch& batch, std::int64_t first, std::int64_t count) {
  Batch part = batch;
  for (auto* rows : {&part.images, &part.tokens, &part.labels, &part.sample_ids}) *rows = rows->narrow(0, first, count);
  part.first_position += first;
  return part;
}

/// Tensors of the state by name, not copied.
std::map<std::string, at::Tensor> tensors_by_name(const std::function<void(StateVisitor&)>& visit) {
  struct Names : StateVisitor {
    std::map<std::string, at::Tensor> tensors;
    void tensor(const std::string& name, at::Tensor& tensor) override { tensors[name] = tensor; }
    void integer(const std::string& name, std::int64_t& value) override {
      tensors["integer " + name] = at::scalar_tensor(value, at::kLong);
    }
    void real(const std::string&, double&) override {}
    void text(const std::string&, std::string&) override {}
  } names;
  visit(names);
  return names.tensors;
}

CorpusFacts one_step_epochs(std::int64_t records) {
  CorpusFacts facts;
  facts.records_per_epoch = records;
  facts.steps_per_epoch = 1;
  return facts;
}

struct TclRun {
  TrainConfig config;
  std::unique_ptr<Objective> objective;
  Trainer trainer;

  TclRun(const TrainConfig& settings, Collectives& comm)
      : config(settings),
        objective(make_objective(config.objective, config.model, one_step_epochs(config.train.global_batch),
                                 {.seed = 3, .parameters = computation_of(config.train).parameters})),
        trainer(config, plan_steps(config, comm.size(), config.train.global_batch), *objective, comm) {}

  std::map<std::string, at::Tensor> state() {
    return tensors_by_name([&](StateVisitor& visitor) { trainer.visit_state(visitor); });
  }
  std::map<std::string, at::Tensor> copied() {
    auto all = state();
    for (auto& [name, tensor] : all) tensor = tensor.detach().clone();
    return all;
  }
  void break_teacher(const std::string& prefix) {
    const c10::NoGradGuard no_grad;
    int broken = 0;
    for (auto& [name, tensor] : state())
      if (name.starts_with(prefix)) ++broken, tensor.fill_(NAN);
    EXPECT_GT(broken, 0) << prefix;
  }
};

std::vector<std::string> not_finite(const StepReport& report) {
  std::vector<std::string> names;
  for (const auto& [name, value] : report.terms)
    if (!std::isfinite(value)) names.push_back(name);
  return names;
}

bool counts_steps(const std::string& name) {
  return name.starts_with("integer guard.") || name.starts_with("integer trainer.");
}

/// On the last of the ranks alone. `terms`: those that become NaN.
void expect_refused(const std::string& broken, const std::vector<std::string>& terms, int ranks) {
  std::atomic<int> ended = 0;
  run_ranks(ranks, [&](Collectives& comm) {
    auto config = tcl_config(8, 20);
    std::get<TclConfig>(config.objective).mask_probability = 0.9;  // no step without a word to guess
    TclRun run(config, comm);
    const std::int64_t b = 8 / comm.size();
    const auto step = [&](std::int64_t n) {
      return run.trainer.step({part_of(colour_pairs(8, n), comm.rank() * b, b)});
    };
    EXPECT_EQ(step(0).verdict, Verdict::kTake);
    const auto start = run.copied();
    EXPECT_EQ(step(1).verdict, Verdict::kTake);
    const auto before = run.copied();
    EXPECT_FALSE(at::equal(before.at("queue.image"), start.at("queue.image")));  // control: a good step enters
    EXPECT_FALSE(at::equal(before.at("temperature"), start.at("temperature")));
    if (comm.rank() + 1 == comm.size()) run.break_teacher(broken);
    for (std::int64_t n = 2; n < 4; ++n) {
      const auto report = step(n);
      EXPECT_EQ(report.verdict, Verdict::kNotFinite) << broken;
      EXPECT_FALSE(std::isfinite(report.loss)) << broken;
      EXPECT_EQ(not_finite(report), terms) << broken;
    }
    for (const auto& [name, tensor] : run.state()) {
      if (name.starts_with("momentum.") || counts_steps(name)) continue;
      EXPECT_TRUE(at::equal(tensor, before.at(name))) << name;
    }
    try {
      step(4);
    } catch (const NotFiniteError& error) {
      EXPECT_NE(std::string(error.what()).find("step 5: 3 steps in a row"), std::string::npos) << error.what();
      ++ended;
    }
  });
  EXPECT_EQ(ended, ranks);
}

TEST(TclTrainer, ATeacherThatIsNotFiniteRefusesTheStepAndEntersNoQueue) {
  for (const int ranks : {1, 2}) {
    expect_refused("momentum.", {"i2t", "t2i", "i2i", "t2t", "lmi_image", "lmi_text", "mlm"}, ranks);
    expect_refused("momentum.encoder.layer.2.", {"mlm"}, ranks);  // of its fusion encoder
  }
}

TEST(TclTrainer, FrozenTowersKeepEveryBitInHalfPrecision) {
  run_ranks(1, [](Collectives& comm) {
    auto config = tcl_config(8, 20);
    config.train.precision = "bf16";
    config.optimizer.freeze = {"visual.*", "embeddings.*"};
    config.optimizer.weight_decay = 0.1;
    TclRun run(config, comm);
    const auto before = run.copied();
    for (std::int64_t n = 0; n < 4; ++n) {
      const Batch batch = colour_pairs(8, n);
      EXPECT_EQ(run.trainer.step({part_of(batch, 0, 4), part_of(batch, 4, 4)}).verdict, Verdict::kTake);
    }
    int frozen = 0, trained = 0;
    for (const auto& [name, tensor] : run.objective->module().parameters()) {
      const bool kept = name.starts_with("visual.") || name.starts_with("embeddings.");
      (kept ? frozen : trained) += 1;
      EXPECT_EQ(at::equal(tensor, before.at(name)), kept) << name;
      const auto copy = before.find("momentum." + name);  // not all have one: the temperature, the matching head
      if (copy == before.end()) continue;
      EXPECT_EQ(at::equal(run.state().at(copy->first), copy->second), kept) << copy->first;
    }
    EXPECT_GT(frozen, 20);
    EXPECT_GT(trained, 20);
  });
}

/// Share of the pictures whose own caption, or captions whose own picture, stands first: in the first stage, and when
/// the fusion encoder orders the 16 nearest again.
struct FirstPlaces {
  double nearest = 0, reranked = 0;
};
FirstPlaces first_places(const Encoders& encoders, const Batch& batch, bool of_captions) {
  const c10::NoGradGuard no_grad;
  const at::Tensor pictures = batch.images.select(1, 0), tokens = batch.tokens.select(1, 0);
  const at::Tensor by_picture = encoders.image(pictures).matmul(encoders.text(tokens).t());
  const at::Tensor score = of_captions ? by_picture.t().contiguous() : by_picture;
  const std::int64_t n = score.size(0);
  const at::Tensor own = at::arange(n), place = place_of_own(score, own), near = nearest(score, 16);
  const at::Tensor states = encoders.match->image_states(pictures), words = encoders.match->text_states(tokens);
  std::vector<at::Tensor> logits;
  for (std::int64_t k = 0; k < near.size(1); ++k) {
    const at::Tensor other = near.select(1, k), picture = of_captions ? other : own, text = of_captions ? own : other;
    logits.push_back(encoders.match->score(states.index_select(0, picture), words.index_select(0, text),
                                           tokens.index_select(0, text)));
  }
  const at::Tensor again = reranked_place(place, at::stack(logits, 1).to(at::kDouble), near == own.unsqueeze(1), n);
  const auto share = [](const at::Tensor& places) { return (places == 0).to(at::kDouble).mean().item<double>(); };
  return {share(place), share(again)};
}

TEST(TclTrainer, LearnsSixtyFourPairsByHeart) {
  run_ranks(1, [](Collectives& comm) {
    constexpr std::int64_t kPairs = 64, kStepsOfRun = 400, kLastSteps = 20;
    TclRun run(tcl_config(kPairs, kStepsOfRun), comm);
    const auto before = first_places(run.objective->encoders(), colour_pairs(kPairs, 0), false);
    double accuracy = 0;
    for (std::int64_t n = 0; n < kStepsOfRun; ++n) {
      const auto report = run.trainer.step({colour_pairs(kPairs, n)});
      ASSERT_EQ(report.verdict, Verdict::kTake);
      for (const auto& [name, value] : report.terms)
        if (name == "itm_accuracy" && n >= kStepsOfRun - kLastSteps) accuracy += value / kLastSteps;
    }
    EXPECT_GT(accuracy, 0.95);
    EXPECT_LT(before.nearest, 0.2);
    for (const bool of_captions : {false, true}) {
      const auto after = first_places(run.objective->encoders(), colour_pairs(kPairs, 0), of_captions);
      EXPECT_GT(after.nearest, 0.75);
      EXPECT_GE(after.reranked, after.nearest);
    }
  });
}

}  // namespace
}  // namespace triptych

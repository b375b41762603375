// Two pretraining steps of TCL's released code, from its weights and its draws, by our Trainer: every term, gradient,
// weight, momentum weight and queue.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/model/foreign_names.h"
#include "core/objective/tcl.h"
#include "core/train/trainer.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

constexpr std::int64_t kRows = 4, kQueue = 32;

ModelConfig golden_model() {
  ModelConfig model;
  model.image = VitConfig{.image_size = 48, .patch_size = 3, .width = 24, .depth = 2, .heads = 3, .form = "timm"};
  model.text = BertConfig{.context = 12,
                          .width = 32,
                          .depth = 2,
                          .heads = 4,
                          .vocabulary = 72,
                          .mlp_ratio = 1.5,
                          .dropout = 0,
                          .positions = 16,
                          .end_token = false};
  model.fusion = FusionConfig{.depth = 2};
  model.embed_dim = 16;
  return model;
}

TrainConfig golden_config() {
  TrainConfig config;
  config.model = golden_model();
  TclConfig tcl;
  tcl.queue = kQueue;
  tcl.lmi.pool = "published";
  tcl.start_word = 2;
  tcl.end_word = 3;
  tcl.mask_word = 4;
  config.objective = tcl;
  config.train.global_batch = kRows;
  config.optimizer = {.lr = 1e-4,
                      .betas = {0.9, 0.999},
                      .eps = 1e-8,
                      .weight_decay = 0.02,
                      .decay_also = {"temperature", "visual.class_embedding"}};
  config.schedule.shape = "constant";
  config.schedule.total = steps(2);
  return config;
}

std::string step_name(std::int64_t step, const std::string& name) {
  return "step" + std::to_string(step + 1) + "." + name;
}

Batch golden_batch(const Golden& golden, std::int64_t step) {
  const auto view = [&](const char* name) {
    return golden[step_name(step, name)].permute({0, 2, 3, 1}).unsqueeze(1).contiguous();
  };
  Batch batch;
  batch.images = at::cat({view("in.image"), view("in.image_aug")}, 1);
  batch.tokens = golden[step_name(step, "in.input_ids")].unsqueeze(1);
  batch.labels = at::full({kRows}, kNoLabel, at::kLong);
  batch.sample_ids = at::arange(kRows, at::kLong);
  batch.first_position = step * kRows;
  return batch;
}

TclHooks golden_draws(const Golden& golden) {
  const auto step_of = [](const Batch& batch) { return batch.first_position / kRows; };
  TclHooks hooks;
  hooks.alpha = [&golden](const StepClock& clock) { return golden[step_name(clock.step, "alpha")].item<double>(); };
  hooks.mask = [&golden, step_of](const Batch& batch, const at::Tensor& tokens) {
    const auto raw = [&](const char* name) {
      return golden[step_name(step_of(batch), std::string("draw.") + name)]
          .to(at::kDouble)
          .narrow(1, 0, tokens.size(1));
    };
    // A draw of 1 stands for a uniform number below the probability.
    const MaskDraws draws{1 - raw("mask"), 1 - raw("replace"), 1 - raw("random"), (raw("random_words") + 0.5) / 72};
    return mask_words(tokens, draws, 0.15, {.pad = 0, .start = 2, .end = 3, .mask = 4, .vocabulary = 72});
  };
  hooks.negatives = [&golden, step_of](const Batch& batch, TclHooks::Side side) {
    return golden[step_name(step_of(batch), side == TclHooks::Side::kTextsForImages ? "draw.neg_text_for_image"
                                                                                    : "draw.neg_image_for_text")];
  };
  return hooks;
}

/// By our names, the golden names of all tensors below a prefix.
std::map<std::string, std::string> by_our_names(const Golden& golden, const std::string& prefix) {
  std::vector<std::string> names;
  std::map<std::string, std::string> stored;
  for (const auto& [name, tensor] : golden.tensors()) {
    if (!name.starts_with(prefix)) continue;
    std::string bare = name.substr(prefix.size());
    for (const std::string copy : {"visual_encoder_m.", "text_encoder_m.", "vision_proj_m.", "text_proj_m."}) {
      if (bare.starts_with(copy)) bare.erase(copy.size() - 3, 2);
    }
    names.push_back(bare);
    stored[bare] = name;
  }
  std::map<std::string, std::string> golden_names;
  for (const auto& [ours, theirs] : foreign_names(names).file_name) golden_names[ours] = stored.at(theirs);
  return golden_names;
}

/// Reads and writes what visit_state lists, by name.
class State : public StateVisitor {
 public:
  void tensor(const std::string& name, at::Tensor& tensor) override { tensors[name] = tensor; }
  void integer(const std::string& name, std::int64_t& value) override { integers[name] = &value; }
  void real(const std::string&, double&) override {}
  void text(const std::string&, std::string&) override {}
  void set(const std::string& name, const at::Tensor& value) {
    const c10::NoGradGuard no_grad;
    ASSERT_TRUE(tensors.contains(name)) << name;
    tensors.at(name).copy_(value.view_as(tensors.at(name)));
  }
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::int64_t*> integers;
};

void start_from(const Golden& golden, State& state) {
  for (const auto& [name, theirs] : by_our_names(golden, "init.student.")) state.set(name, golden[theirs]);
  for (const auto& [name, theirs] : by_our_names(golden, "init.teacher."))
    state.set("momentum." + name, golden[theirs]);
  state.set("queue.image", golden["init.image_queue"].t().contiguous());
  state.set("queue.text", golden["init.text_queue"].t().contiguous());
  *state.integers.at("queue.next") = golden["init.queue_ptr"].item<std::int64_t>();
}

/// Key biases have no gradient but rounding noise, which Adam turns into steps of up to the learning rate.
at::Tensor without_key_bias(const std::string& name, const at::Tensor& tensor) {
  if (name.ends_with("self.key.bias")) return tensor.narrow(0, 0, 0);
  if (!name.ends_with("in_proj_bias")) return tensor;
  const auto width = tensor.size(0) / 3;
  return at::cat({tensor.narrow(0, 0, width), tensor.narrow(0, 2 * width, width)});
}

using Tensors = std::map<std::string, at::Tensor>;

struct Worst {
  double ratio = 0;  ///< largest difference over its bound
  std::string name;
};

/// Of all golden tensors below `prefix`. Bound: ten times the difference between fp32 and fp64 runs of the released
/// code, at least 1e-6 of the largest entry.
Worst worst(const Golden& golden, const std::string& prefix, const Tensors& got) {
  static const auto noise =
      nlohmann::json::parse(std::ifstream(source_path("tests/golden/tcl_pretrain_step.json")))["fp32_noise"]["values"];
  Worst most;
  for (const auto& [name, theirs] : by_our_names(golden, prefix)) {
    if (!got.contains(name)) return {std::numeric_limits<double>::infinity(), name};
    const at::Tensor expected = golden[theirs];
    const double bound = std::max({10 * noise.value(theirs, 0.0), 1e-6 * expected.abs().max().item<double>(), 1e-12});
    const double apart =
        difference(without_key_bias(name, got.at(name).view_as(expected)), without_key_bias(name, expected));
    if (apart / bound >= most.ratio) most = {apart / bound, theirs};
  }
  return most;
}

Tensors below(const State& state, const std::string& prefix) {
  Tensors tensors;
  for (const auto& [name, tensor] : state.tensors)
    if (name.starts_with(prefix)) tensors[name.substr(prefix.size())] = tensor;
  return tensors;
}

/// Two steps from the golden state; calls `check` after each.
void run_golden(const TrainConfig& config, const std::function<void(TclHooks&)>& change,
                const std::function<void(std::int64_t step, const StepReport&, const Tensors& gradients,
                                         const State& state)>& check) {
  run_ranks(1, [&](Collectives& comm) {
    const Golden golden("tcl_pretrain_step");
    TclObjective objective(std::get<TclConfig>(config.objective), config.model, {}, {});
    Trainer trainer(config, plan_steps(config, 1, 1000), objective, comm);
    State state;
    objective.visit_state(state);
    start_from(golden, state);
    TclHooks hooks = golden_draws(golden);
    change(hooks);
    objective.prescribe(hooks);
    for (std::int64_t step = 0; step < 2; ++step) {
      const auto report = trainer.step({golden_batch(golden, step)});
      Tensors gradients;
      for (const auto& [name, parameter] : objective.module().parameters()) gradients[name] = parameter.grad();
      check(step, report, gradients, state);
    }
  });
}

TEST(TclGolden, TwoStepsAreTheReleasedCodes) {
  const Golden golden("tcl_pretrain_step");
  const auto check = [&](std::int64_t step, const StepReport& report, const Tensors& gradients, const State& state) {
    const auto loss = [&](const std::string& name) { return golden[step_name(step, "loss." + name)].item<double>(); };
    EXPECT_NEAR(report.loss, loss("total"), 1e-5 * loss("total"));
    int terms = 0;
    for (const auto& [name, value] : report.terms) {
      if (name == "itm_accuracy") continue;
      EXPECT_NEAR(value, loss(name), 1e-5) << name << " of step " << step + 1;
      ++terms;
    }
    EXPECT_EQ(terms, 8);
    const auto close = [&](const char* what, const Tensors& got) {
      const auto most = worst(golden, step_name(step, what), got);
      EXPECT_LE(most.ratio, 1) << most.name;
      EXPECT_FALSE(most.name.empty()) << what;
    };
    close("grad.", gradients);
    close("student.", state.tensors);
    close("teacher.", below(state, "momentum."));
    for (const std::string queue : {"image", "text"}) {
      EXPECT_LE(difference(state.tensors.at("queue." + queue).t(), golden[step_name(step, queue + "_queue")]), 2e-6);
    }
    EXPECT_EQ(*state.integers.at("queue.next"), golden[step_name(step, "queue_ptr")].item<std::int64_t>());
  };
  run_golden(
      golden_config(), [](TclHooks&) {}, check);
}

/// Negative controls: steps that are slightly wrong are noticed.
TEST(TclGoldenControl, AWrongStepIsNoticed) {
  const Golden golden("tcl_pretrain_step");
  for (const int mistake : {0, 1, 2, 3}) {
    auto config = golden_config();
    auto& tcl = std::get<TclConfig>(config.objective);
    if (mistake == 0) config.optimizer.decay_also = {};
    if (mistake == 1) tcl.momentum = 0.99;
    if (mistake == 2) tcl.weights.lmi = 1.0 / 5;
    double most = 0;
    run_golden(
        config,
        [&](TclHooks& hooks) {
          if (mistake == 3) hooks.alpha = [](const StepClock&) { return 0.4; };
        },
        [&](std::int64_t step, const StepReport&, const Tensors& gradients, const State& state) {
          most = std::max({most, worst(golden, step_name(step, "grad."), gradients).ratio,
                           worst(golden, step_name(step, "student."), state.tensors).ratio,
                           worst(golden, step_name(step, "teacher."), below(state, "momentum.")).ratio});
        });
    EXPECT_GT(most, 2) << mistake;
  }
}

}  // namespace
}  // namespace triptych

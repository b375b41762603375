// Eight steps of OpenCLIP's own training loop, from its weights, by our Trainer.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/objective/objective_table.h"
#include "core/train/trainer.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

constexpr std::int64_t kSteps = 8, kRows = 8;

TrainConfig golden_config() {
  TrainConfig config;
  config.model.image = VitConfig{.image_size = 32, .patch_size = 8, .width = 56, .depth = 2, .heads = 4};
  config.model.text = CausalTransformerConfig{.context = 16, .width = 48, .depth = 2, .heads = 4, .vocabulary = 200};
  config.model.embed_dim = 32;
  config.objective = ClipConfig{};
  config.train.global_batch = kRows;
  config.optimizer = {.lr = 1e-3, .betas = {0.9, 0.98}, .eps = 1e-6, .weight_decay = 0.2, .clip_norm = 1.0};
  config.schedule.total = steps(kSteps);
  config.schedule.warmup = steps(3);
  return config;
}

/// Rows [first, first + count) of a step, as the loader would hand them out; pictures are normalised already.
Batch golden_rows(const Golden& golden, std::int64_t step, std::int64_t first, std::int64_t count) {
  Batch batch;
  batch.images = golden["in.images"][step].narrow(0, first, count).permute({0, 2, 3, 1}).unsqueeze(1).contiguous();
  batch.tokens = golden["in.tokens"][step].narrow(0, first, count).to(at::kLong).unsqueeze(1).contiguous();
  batch.labels = at::full({count}, kNoLabel, at::kLong);
  batch.sample_ids = at::arange(first, first + count, at::kLong);
  batch.first_position = step * kRows + first;
  return batch;
}

struct Outcome {
  std::vector<StepReport> reports;
  std::map<std::string, at::Tensor> parameters;
};

Outcome train(Collectives& comm, const TrainConfig& config, std::int64_t micro_batch) {
  const Golden golden("openclip_train");
  auto objective = make_objective(config.objective, config.model, {}, {});
  {
    const c10::NoGradGuard no_grad;
    for (auto& [name, tensor] : objective->module().parameters()) tensor.copy_(golden["init." + name]);
  }
  const auto plan = plan_steps(config, comm.size(), 1000);
  Trainer trainer(config, plan, *objective, comm);
  Outcome outcome;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    std::vector<Batch> pieces;
    for (std::int64_t row = 0; row < plan.local_batch; row += micro_batch) {
      pieces.push_back(golden_rows(golden, step, comm.rank() * plan.local_batch + row, micro_batch));
    }
    outcome.reports.push_back(trainer.step(std::move(pieces)));
  }
  for (const auto& [name, tensor] : objective->module().parameters())
    outcome.parameters[name] = tensor.detach().clone();
  return outcome;
}

/// Ten times the difference between fp32 and fp64 runs of the official code, at least 1e-6 of the largest entry. Key
/// biases have no gradient but rounding noise, which Adam turns into steps of up to the learning rate.
void compare_parameters(const std::map<std::string, at::Tensor>& parameters, const Golden& golden) {
  const auto facts = nlohmann::json::parse(std::ifstream(source_path("tests/golden/openclip_train.json")));
  for (const auto& [name, tensor] : parameters) {
    auto got = tensor, expected = golden["final." + name];
    if (name.ends_with("in_proj_bias")) {
      const auto width = got.size(0) / 3;
      got = at::cat({got.narrow(0, 0, width), got.narrow(0, 2 * width, width)});
      expected = at::cat({expected.narrow(0, 0, width), expected.narrow(0, 2 * width, width)});
    }
    const double noise = facts["fp32_noise"]["values"]["final." + name];
    const double bound = std::max(10 * noise, 1e-6 * expected.abs().max().item<double>());
    EXPECT_LE(difference(got, expected), bound) << name;
  }
}

class GoldenRun : public testing::TestWithParam<std::pair<int, std::int64_t>> {};

TEST_P(GoldenRun, LossesNormsRatesAndWeightsAreOpenClips) {
  const auto [ranks, micro_batch] = GetParam();
  run_ranks(ranks, [&, micro = micro_batch](Collectives& comm) {
    const Golden golden("openclip_train");
    const auto outcome = train(comm, golden_config(), micro);
    const auto loss = golden["trace.loss"], norm = golden["trace.grad_norm"], lr = golden["trace.lr"],
               scale = golden["trace.logit_scale_after_clamp"];
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const auto& report = outcome.reports[static_cast<std::size_t>(step)];
      EXPECT_NEAR(report.loss / loss[step].item<double>(), 1, 1e-5) << "step " << step;
      EXPECT_NEAR(report.grad_norm / norm[step].item<double>(), 1, 1e-4) << "step " << step;
      EXPECT_NEAR(report.lr, lr[step].item<double>(), 1e-9);
    }
    EXPECT_NEAR(outcome.parameters.at("logit_scale").item<double>(), scale[kSteps - 1].item<double>(), 3e-6);
    compare_parameters(outcome.parameters, golden);
  });
}
INSTANTIATE_TEST_SUITE_P(RanksAndMicroBatches, GoldenRun,
                         testing::Values(std::pair{1, 8}, std::pair{1, 2}, std::pair{2, 4}, std::pair{2, 2},
                                         std::pair{4, 2}));

/// Negative controls: the comparison notices an optimizer that is slightly wrong.
TEST(GoldenRunControl, AWrongOptimizerIsNoticed) {
  run_ranks(1, [](Collectives& comm) {
    const Golden golden("openclip_train");
    for (const int mistake : {0, 1, 2}) {
      auto config = golden_config();
      if (mistake == 0) config.optimizer.weight_decay = 0;
      if (mistake == 1) config.optimizer.clip_norm = 0;
      if (mistake == 2) config.optimizer.betas[1] = 0.999;
      const auto outcome = train(comm, config, kRows);
      double worst = 0;
      for (const auto& [name, tensor] : outcome.parameters) {
        worst = std::max(worst, difference(tensor, golden["final." + name]));
      }
      EXPECT_GT(worst, 1e-4) << "mistake " << mistake;
    }
  });
}

}  // namespace
}  // namespace triptych

// The average against its formula, and its use in a run: evaluated, saved, resumed.
#include "core/train/weight_ema.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/train/checkpoint_store.h"
#include "tests/support/tensors.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

TEST(WeightEma, IsTheFormulaAndGivesTheWeightsBack) {
  at::Tensor weight = draw({1}, {5, 3}).to(at::kFloat);
  WeightEma ema({.decay = 0.3}, {{"w", weight}});
  at::Tensor expected = weight.to(at::kDouble);
  for (int n = 1; n <= 4; ++n) {
    weight.copy_(draw({2, static_cast<std::uint64_t>(n)}, {5, 3}));
    ema.update();
    const double d = std::min(0.3, (1.0 + n) / (10.0 + n));
    expected = d * expected + (1 - d) * weight.to(at::kDouble);
  }
  const at::Tensor before = weight.clone();
  {
    const WeightEma::InUse averaged(&ema);
    EXPECT_LT(difference(weight.to(at::kDouble), expected), 1e-6);
  }
  EXPECT_TRUE(at::equal(weight, before));
  {
    const WeightEma::InUse none(nullptr);
    EXPECT_TRUE(at::equal(weight, before));
  }
}

TEST(WeightEma, ARunEvaluatesItAndResumesWithIt) {
  const TinyRun tiny;
  auto config = tiny.config("plain");
  config.eval = {RetrievalConfig{.label = "", .corpus = config.data.corpora[0], .every = steps(4)}};
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  config.run.name = "averaged";
  config.train.ema = EmaConfig{.decay = 0.5};
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  const auto losses = [&](const std::string& name) {
    std::vector<double> values;
    for (const auto& line : tiny.lines(name, "metrics.jsonl"))
      if (line.contains("loss")) values.push_back(line["loss"]);
    return values;
  };
  EXPECT_EQ(losses("averaged"), losses("plain")) << "averaging changes no training bit";
  const SafetensorsReader state(CheckpointStore(tiny.run("averaged") / "checkpoints").path(10) / "state.safetensors");
  EXPECT_TRUE(state.contains("ema.visual.proj"));
  tiny.copy_run("averaged", "resumed", 4);
  config.run.name = "resumed";
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  EXPECT_EQ(tiny.text("resumed", "steps.jsonl"), tiny.text("averaged", "steps.jsonl"));
}

}  // namespace
}  // namespace triptych

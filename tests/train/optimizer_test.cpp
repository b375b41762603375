// The update against its formula written plainly; the rate and the rule of decay against OpenCLIP's numbers.
#include "core/train/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/train/lr_schedule.h"
#include "core/train/step_guard.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

/// One rank.
Collectives& alone() {
  static ThreadGroup group(1, std::chrono::seconds(60));
  return group.comm(0);
}

std::vector<NamedTensor> parameters(at::ScalarType dtype) {
  std::vector<NamedTensor> result;
  for (const auto& [name, shape] : std::vector<std::pair<std::string, std::vector<std::int64_t>>>{
           {"a.weight", {37, 11}}, {"a.bias", {37}}, {"logit_scale", {}}, {"table", {5, 3, 2}}}) {
    result.push_back({name, leaf(draw({1, name.size(), static_cast<std::uint64_t>(shape.size())}, shape).to(dtype))});
  }
  return result;
}

void set_gradients(const std::vector<NamedTensor>& all, std::uint64_t step) {
  for (const auto& p : all) {
    auto tensor = p.tensor;
    tensor.mutable_grad() = draw({2, step, p.name.size()}, tensor.sizes()).to(tensor.scalar_type());
  }
}

class AdamWFormula : public testing::TestWithParam<at::ScalarType> {};

TEST_P(AdamWFormula, FiveStepsEqualTheFormulaWrittenPlainly) {
  const auto dtype = GetParam();
  OptimizerConfig config;
  config.weight_decay = 0.3;
  config.betas = {0.8, 0.95};
  const auto trained = parameters(dtype);
  AdamW optimizer(config, trained, {.no_decay = {"table"}}, alone());
  std::vector<at::Tensor> p, m, v;
  for (const auto& parameter : trained) {
    p.push_back(parameter.tensor.detach().to(at::kDouble).clone());
    m.push_back(at::zeros_like(p.back()));
    v.push_back(at::zeros_like(p.back()));
  }
  for (int step = 1; step <= 5; ++step) {
    const double lr = 0.01 * step;
    set_gradients(trained, static_cast<std::uint64_t>(step));
    optimizer.update(lr);
    for (std::size_t i = 0; i < trained.size(); ++i) {
      const auto g = trained[i].tensor.grad().to(at::kDouble);
      if (trained[i].name == "a.weight") p[i] = p[i] * (1 - lr * 0.3);
      m[i] = 0.8 * m[i] + 0.2 * g;
      v[i] = 0.95 * v[i] + 0.05 * g * g;
      p[i] = p[i] - lr * (m[i] / (1 - std::pow(0.8, step))) / ((v[i] / (1 - std::pow(0.95, step))).sqrt() + config.eps);
    }
  }
  for (std::size_t i = 0; i < trained.size(); ++i) {
    EXPECT_LT(difference(trained[i].tensor, p[i]), dtype == at::kDouble ? 1e-13 : 2e-6) << trained[i].name;
  }
}
INSTANTIATE_TEST_SUITE_P(Dtypes, AdamWFormula, testing::Values(at::kFloat, at::kDouble),
                         [](const auto& dtype) { return std::string(c10::toString(dtype.param)); });

TEST(AdamW, NormIsThatOfAllGradientsAndClippingScalesToIt) {
  OptimizerConfig config;
  config.clip_norm = 1.5;
  const auto trained = parameters(at::kFloat);
  AdamW optimizer(config, trained, {}, alone());
  set_gradients(trained, 1);
  at::Tensor all = at::empty({0}, at::kDouble);
  for (const auto& p : trained) all = at::cat({all, p.tensor.grad().to(at::kDouble).flatten()});
  const double norm = all.norm().item<double>();
  EXPECT_NEAR(optimizer.gradient_norm(), norm, 1e-12 * norm);
  optimizer.clip(optimizer.gradient_norm());
  EXPECT_NEAR(optimizer.gradient_norm(), 1.5 / (1 + 1e-6 / norm), 1e-6);
  optimizer.clip(optimizer.gradient_norm());  // below the limit: untouched
  EXPECT_NEAR(optimizer.gradient_norm(), 1.5, 1e-5);
}

TEST(AdamW, PartsAreClippedByTheirOwnNorms) {
  OptimizerConfig config;
  config.clip_norm = 1.5;
  const auto trained = parameters(at::kFloat);
  AdamW optimizer(config, trained, {.apart = {trained[1].name}}, alone());
  set_gradients(trained, 1);
  trained[1].tensor.grad().mul_(1000 / trained[1].tensor.grad().norm().item<double>());
  double others = 0;
  for (const auto& p : trained) {
    if (p.name != trained[1].name) others += p.tensor.grad().to(at::kDouble).square().sum().item<double>();
  }
  const double before = trained[0].tensor.grad().norm().item<double>();
  ASSERT_GT(std::sqrt(others), 1.5);
  optimizer.clip(optimizer.gradient_norm());
  EXPECT_NEAR(trained[1].tensor.grad().norm().item<double>(), 1.5, 1e-5);
  EXPECT_NEAR(trained[0].tensor.grad().norm().item<double>(), before * 1.5 / std::sqrt(others), 1e-5);
}

TEST(AdamW, NormSeesWhatIsNotFiniteAndDoesNotOverflow) {
  const auto trained = parameters(at::kFloat);
  AdamW optimizer({}, trained, {}, alone());
  set_gradients(trained, 1);
  trained[0].tensor.grad().fill_(1e30);
  EXPECT_NEAR(optimizer.gradient_norm() / (1e30 * std::sqrt(37.0 * 11.0)), 1, 1e-6);
  trained[3].tensor.grad().view(-1)[7] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(optimizer.gradient_norm()));
  trained[3].tensor.grad().view(-1)[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(optimizer.gradient_norm()));
}

nlohmann::json golden_facts() {
  return nlohmann::json::parse(std::ifstream(source_path("tests/golden/openclip_train.json")));
}

TEST(AdamW, DecaysExactlyWhatOpenClipDecays) {
  const Golden golden("openclip_train");
  std::set<std::string> decayed, expected;
  for (const auto& [name, stored] : golden.tensors()) {
    if (name.starts_with("init.") && AdamW::decays(name.substr(5), golden[name])) decayed.insert(name.substr(5));
  }
  const auto facts = golden_facts();
  for (const auto& name : facts["decayed"]) expected.insert(name.get<std::string>());
  EXPECT_EQ(decayed, expected);
}

TEST(LrSchedule, EqualsOpenClipsCosine) {
  const auto expected = Golden("openclip_train")["trace.lr"].to(at::kDouble);
  ScheduleConfig config;
  const LrSchedule schedule(config, 1e-3, 3, 8);
  for (std::int64_t step = 0; step < 8; ++step) {
    EXPECT_NEAR(schedule.at(step), expected[step].item<double>(), 1e-9) << step;
  }
}

TEST(LrSchedule, EndsAtItsFloorAndConstantStays) {
  ScheduleConfig config;
  config.final_lr = 0.1;
  const LrSchedule cosine(config, 1, 0, 1000);
  EXPECT_DOUBLE_EQ(cosine.at(0), 1);
  EXPECT_NEAR(cosine.at(500), 0.55, 1e-12);
  EXPECT_NEAR(cosine.at(999), 0.1, 1e-5);
  config.shape = "constant";
  const LrSchedule constant(config, 1, 4, 1000);
  EXPECT_DOUBLE_EQ(constant.at(0), 0.25);
  EXPECT_DOUBLE_EQ(constant.at(4), 1);
  EXPECT_DOUBLE_EQ(constant.at(999), 1);
}

TEST(StepGuard, RefusesWhatIsNotFiniteAndGivesUpAfterKInARow) {
  LoopConfig config;
  config.max_skipped_steps = 2;
  StepGuard guard(config);
  EXPECT_EQ(guard.judge(true, 1), Verdict::kTake);
  EXPECT_EQ(guard.judge(false, 1), Verdict::kNotFinite);
  EXPECT_EQ(guard.judge(true, NAN), Verdict::kNotFinite);
  EXPECT_FALSE(guard.exhausted());
  EXPECT_EQ(guard.judge(true, 1), Verdict::kTake);
  EXPECT_EQ(guard.skipped_in_a_row(), 0);
  for (int i = 0; i < 3; ++i) guard.judge(true, INFINITY);
  EXPECT_TRUE(guard.exhausted());
  EXPECT_EQ(guard.skipped_in_all(), 5);
}

TEST(StepGuard, SkipsSpikesOverTheRunningMeanOnceItKnowsIt) {
  LoopConfig config;
  config.skip_norm_above = 4;
  StepGuard guard(config);
  EXPECT_EQ(guard.judge(true, 100), Verdict::kTake);  // nothing is known yet
  for (int i = 0; i < 19; ++i) EXPECT_EQ(guard.judge(true, 1), Verdict::kTake);
  EXPECT_NEAR(guard.mean_norm(), 119.0 / 20, 1e-12);
  for (int i = 0; i < 200; ++i) guard.judge(true, 1);
  EXPECT_EQ(guard.judge(true, 6), Verdict::kSpike);
  EXPECT_EQ(guard.judge(true, 3), Verdict::kTake);
}

}  // namespace
}  // namespace triptych

// Contradictions between sections, the arithmetic of batches, and what may change at resume.
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/train/run_changes.h"
#include "core/train/train_config.h"
#include "core/train/train_config_file.h"

namespace triptych {
namespace {

template <class Action>
std::string refusal(Action&& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  } catch (const FieldError& error) {
    return error.key() + ": " + error.what();
  }
  return "accepted";
}

TEST(StepPlan, CutsTheGlobalBatch) {
  TrainConfig config;
  config.train.global_batch = 48;
  config.train.micro_batch = 8;
  config.schedule.total = epochs(2.5);
  config.schedule.warmup = samples(100);
  const auto plan = plan_steps(config, 3, 1000);
  EXPECT_EQ(plan.local_batch, 16);
  EXPECT_EQ(plan.micro_batch, 8);
  EXPECT_EQ(plan.total_steps, 2500 / 48);
  EXPECT_EQ(plan.warmup_steps, 2);
  config.train.micro_batch = 0;
  EXPECT_EQ(plan_steps(config, 3, 1000).micro_batch, 16);
  config.train.micro_batch = 40;  // more than a rank has: one piece
  EXPECT_EQ(plan_steps(config, 3, 1000).micro_batch, 16);
}

TEST(StepPlan, RefusesWhatDoesNotDivideAndNamesTheKey) {
  TrainConfig config;
  config.train.global_batch = 10;
  EXPECT_EQ(refusal([&] { plan_steps(config, 12, 100); }),
            "train.global_batch: 12 ranks for a global batch of 10 rows; start at most 10 ranks or raise "
            "train.global_batch");
  EXPECT_EQ(refusal([&] { plan_steps(config, 3, 100); }),
            "train.global_batch: 10 does not divide by 3 ranks; use 9 or 12, or another number of ranks");
  config.train.micro_batch = 3;
  EXPECT_NE(refusal([&] { plan_steps(config, 2, 100); }).find("train.micro_batch: 3 does not divide the 5 rows"),
            std::string::npos);
  config.train.micro_batch = 0;
  config.schedule.total = steps(5);
  config.schedule.warmup = epochs(1);
  EXPECT_NE(refusal([&] { plan_steps(config, 2, 100); }).find("schedule.warmup: {epochs: 1} is 10 steps"),
            std::string::npos);
}

/// Below 100 steps there would be none, between two stairs the rest would be left out.
TEST(StepPlan, TclsWarmUpIsWholeStairs) {
  TrainConfig config;
  config.train.global_batch = 10;
  config.schedule.shape = "tcl";
  config.schedule.total = steps(1000);
  const auto planned = [&](const Duration& warmup) {
    config.schedule.warmup = warmup;
    return refusal([&] { plan_steps(config, 1, 1000); });
  };
  EXPECT_EQ(planned(steps(250)),
            "schedule.warmup: {steps: 250} is 250 steps, but shape: tcl rises in stairs of 100; use {steps: 200} or "
            "{steps: 300}");
  EXPECT_NE(planned(steps(10)).find("use {steps: 0} or {steps: 100}"), std::string::npos);
  EXPECT_NE(planned(epochs(0.5)).find("is 50 steps"), std::string::npos);
  for (const auto& whole : {steps(0), steps(100), steps(300), epochs(2)}) EXPECT_EQ(planned(whole), "accepted");
  config.schedule.shape = "unicl";
  EXPECT_EQ(planned(steps(250)), "accepted");
}

TEST(TrainConfig, RefusesContradictions) {
  TrainConfig config;
  EXPECT_EQ(refusal([&] { config.validate(); }), "accepted");
  config.eval = {RetrievalConfig{}, RetrievalConfig{}};
  EXPECT_NE(refusal([&] { config.validate(); }).find("second entry is called 'retrieval'"), std::string::npos);
  config.eval.pop_back();
  config.checkpoint.keep_best = KeepBestConfig{"eval/zero_shot/top1", "max"};
  EXPECT_NE(refusal([&] { config.validate(); }).find("which is no entry of the eval section"), std::string::npos);
  config.checkpoint.keep_best->metric = "eval/retrieval/r1";
  EXPECT_EQ(refusal([&] { config.validate(); }), "accepted");
  config.train.micro_batch = config.train.global_batch + 1;
  EXPECT_NE(refusal([&] { config.validate(); }).find("train.micro_batch"), std::string::npos);
  config.train.micro_batch = 0;
  config.schedule.final_lr = 1;
  EXPECT_NE(refusal([&] { config.validate(); }).find("schedule.final_lr"), std::string::npos);
}

TEST(RunChanges, FreeKeysPassOthersAreListed) {
  const TrainConfig saved;
  TrainConfig now;
  now.data.workers = 7;
  now.log.step_record = true;
  now.checkpoint.keep_last = 9;
  now.eval = {RetrievalConfig{}};
  now.train.device = "cpu";
  now.run.name = "other";
  EXPECT_EQ(refusal([&] { check_changes(train_config_text(saved), train_config_text(now), {}); }), "accepted");
  now.optimizer.lr = 0.5;
  now.run.seed = 4;
  const auto text = refusal([&] { check_changes(train_config_text(saved), train_config_text(now), {"run.seed"}); });
  EXPECT_NE(text.find("optimizer.lr: '0.001' -> '0.5'"), std::string::npos) << text;
  EXPECT_EQ(text.find("run.seed"), std::string::npos) << text;
  EXPECT_EQ(refusal([&] {
              check_changes(train_config_text(saved), train_config_text(now), {"run.seed", "optimizer"});
            }),
            "accepted");
  EXPECT_NE(refusal([&] {
              check_changes(train_config_text(saved), train_config_text(now), {"run.seed", "optimizer.l"});
            }),
            "accepted");
}

}  // namespace
}  // namespace triptych

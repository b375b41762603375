// Schedules against those of the published programs.
#include "core/train/lr_schedule.h"

#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

double at(const at::Tensor& values, std::int64_t i) {
  return values[i].item<double>();
}

TEST(LrSchedule, UniclsIsGolden) {
  const at::Tensor expected = Golden("schedules")["unicl.lr_by_step"];
  ScheduleConfig config;
  config.shape = "unicl";
  config.warmup_lr = 5e-7;
  config.final_lr = 5e-6;
  config.reference_batch = 512;
  const LrSchedule schedule(config, 5e-4, 5 * 20, 32 * 20, {.global_batch = 4096, .records_per_epoch = 20 * 4096});
  ASSERT_EQ(expected.numel(), 640);
  for (std::int64_t s = 0; s < 640; ++s) EXPECT_NEAR(schedule.at(s), at(expected, s), 1e-12) << s;
  EXPECT_EQ(schedule.at(0), schedule.at(1));
}

TEST(LrSchedule, TclsIsGolden) {
  const Golden golden("schedules");
  const at::Tensor stairs = golden["tcl.lr_epoch0_by_iteration"], epochs = golden["tcl.lr_by_epoch_from_1"];
  ScheduleConfig config;
  config.shape = "tcl";
  config.warmup_lr = 1e-5;
  config.final_lr = 1e-5;
  constexpr std::int64_t kSteps = 2300;
  const LrSchedule schedule(config, 1e-4, 2000, 30 * kSteps, {.global_batch = 8, .records_per_epoch = kSteps * 8});
  ASSERT_EQ(stairs.numel(), kSteps);
  for (std::int64_t s = 0; s < kSteps; ++s) EXPECT_NEAR(schedule.at(s), at(stairs, s), 1e-15) << s;
  ASSERT_EQ(epochs.numel(), 29);
  for (std::int64_t e = 1; e < 30; ++e) {
    EXPECT_NEAR(schedule.at(e * kSteps), at(epochs, e - 1), 1e-15) << e;
    EXPECT_EQ(schedule.at(e * kSteps), schedule.at((e + 1) * kSteps - 1));
  }
}

TEST(LrSchedule, OneCycleIsGolden) {
  const Golden golden("schedules");
  const at::Tensor rates = golden["onecycle.lr_by_step"], betas = golden["onecycle.beta1_by_step"];
  ScheduleConfig config;
  config.shape = "one_cycle";
  config.warmup_lr = 2e-4 / 25;
  config.final_lr = 2e-4 / 25 / 1e4;
  config.beta1 = {0.85, 0.95};
  const LrSchedule schedule(config, 2e-4, 36, 120);
  ASSERT_EQ(rates.numel(), 120);
  for (std::int64_t s = 0; s < 120; ++s) {
    EXPECT_NEAR(schedule.at(s), at(rates, s), 1e-15) << s;
    EXPECT_NEAR(*schedule.beta1_at(s), at(betas, s), 1e-12) << s;
  }
}

TEST(LrSchedule, RatesScaleWithTheBatch) {
  ScheduleConfig config;
  config.reference_batch = 512;
  const LrSchedule schedule(config, 1e-3, 0, 10, {.global_batch = 128, .records_per_epoch = 1000});
  EXPECT_DOUBLE_EQ(schedule.at(0), 2.5e-4);
  EXPECT_FALSE(schedule.beta1_at(0));
}

TEST(LrSchedule, SettingsWithoutMeaningAreRefused) {
  ScheduleConfig config;
  config.warmup_lr = 1e-5;
  EXPECT_THROW(config.validate(), FieldError);
  config = {};
  config.beta1 = {0.85, 0.95};
  EXPECT_THROW(config.validate(), FieldError);
  config.shape = "one_cycle";
  EXPECT_NO_THROW(config.validate());
  config.beta1 = {0.85, 1};
  EXPECT_THROW(config.validate(), FieldError);
}

}  // namespace
}  // namespace triptych

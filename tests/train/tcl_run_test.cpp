// Whole runs of TCL: momentum encoders and queues survive a resume to the bit.
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "tests/train/lost_state.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

TrainConfig tcl_run(const TinyRun& tiny, const std::string& name) {
  auto config = tiny.config(name);
  config.model.image = VitConfig{.image_size = 16, .patch_size = 8, .width = 8, .depth = 1, .heads = 2, .form = "timm"};
  config.model.text =
      BertConfig{.clean = "tcl_caption", .context = 8, .width = 8, .depth = 1, .heads = 2, .end_token = false};
  config.model.fusion = FusionConfig{.depth = 1};
  TclConfig tcl;
  tcl.queue = 30;  // no multiple of the batch
  tcl.lmi.cells = 2;
  tcl.positives = "label";
  config.objective = tcl;
  config.data.augment = TclAugment{};
  return config;
}

TEST(TclRun, ResumesBitForBitAfterAKill) {
  const TinyRun tiny;
  for (const int ranks : {1, 2}) {
    for (const std::int64_t micro_batch : {0, 3}) {
      const auto name = "t" + std::to_string(ranks) + std::to_string(micro_batch), killed = name + "k";
      auto config = tcl_run(tiny, name);
      config.train.micro_batch = micro_batch;
      ASSERT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
      tiny.copy_run(name, killed, 4);
      config.run.name = killed;
      EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
      EXPECT_EQ(tiny.text(killed, "steps.jsonl"), tiny.text(name, "steps.jsonl")) << name;
    }
  }
}

TEST(TclRun, NegativesOfAllRanksInHalfPrecisionWithFrozenTowersTrain) {
  const TinyRun tiny;
  for (const int ranks : {1, 2}) {
    auto config = tcl_run(tiny, "g" + std::to_string(ranks));
    std::get<TclConfig>(config.objective).negatives = "global";
    config.train.precision = "bf16";
    config.train.micro_batch = 3;
    config.train.activation_checkpointing = true;
    config.optimizer.freeze = {"visual.*", "encoder.layer.0.*"};
    EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
    EXPECT_EQ(tiny.lines(config.run.name, "steps.jsonl").size(), 10U);
  }
}

TEST(TclRun, LosingAnyMomentumWeightOrQueueIsSeen) {
  const TinyRun tiny;
  auto config = tcl_run(tiny, "a");
  config.schedule.total = steps(5);
  config.log.tensorboard = false;
  int tried = 0;
  const auto not_seen = losses_not_seen(tiny, config, [&](const std::string& name) {
    const bool ours = name.starts_with("momentum.") || name.starts_with("queue.");
    tried += ours ? 1 : 0;
    return ours;
  });
  EXPECT_EQ(not_seen, std::vector<std::string>{});
  EXPECT_GT(tried, 60);
}

TEST(TclRun, BatchesThatCannotWorkAreRefused) {
  const TinyRun tiny;
  auto config = tcl_run(tiny, "b");
  config.train.micro_batch = 1;
  EXPECT_THROW(plan_steps(config, 1, 100), ConfigError);
  std::get<TclConfig>(config.objective).negatives = "global";
  EXPECT_THROW(plan_steps(config, 1, 100), ConfigError);
  EXPECT_NO_THROW(plan_steps(config, 2, 100));
  std::get<TclConfig>(config.objective).queue = 11;
  EXPECT_THROW(config.validate(), FieldError);
}

}  // namespace
}  // namespace triptych

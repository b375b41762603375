// Every experiment in configs/ reads, and its model can be built: the shapes fit.
#include <gtest/gtest.h>

#include <set>

#include "core/objective/objective_table.h"
#include "core/train/train_config_file.h"
#include "core/train/trainer.h"
#include "tests/support/paths.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> recipes() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(source_path("configs"))) {
    const auto folder = entry.path().parent_path().filename();
    const bool part = folder == "models" || folder == "filters" || entry.path().filename() == "recipe.yaml";
    if (entry.path().extension() == ".yaml" && !part) files.push_back(entry.path());
  }
  return files;
}

TEST(Recipes, ReadAndBuild) {
  const auto files = recipes();
  EXPECT_GT(files.size(), 8U);
  for (const auto& file : files) {
    SCOPED_TRACE(file.string());
    const TrainConfig config = load_train_config(file, {});
    CorpusFacts facts;
    facts.num_labels = 10;
    facts.class_names.resize(10, "a class");
    const auto objective = make_objective(config.objective, config.model, facts,
                                          {.seed = 1,
                                           .device = at::kMeta,
                                           .parameters = computation_of(config.train).parameters,
                                           .initial_weights = false});
    EXPECT_GT(objective->module().parameter_count(), 1000);
    plan_steps(config, 1, 1'000'000);
    plan_steps(config, 8, 1'000'000);
  }
}

TEST(Recipes, EveryPublishedOneHasAShrunkOneThatExtendsIt) {
  for (const auto& entry : fs::directory_iterator(source_path("configs/unicl"))) {
    const auto name = entry.path().filename().string();
    const bool recipe = name.starts_with("swin_") || name.starts_with("resnet");
    EXPECT_TRUE(!recipe || fs::exists(source_path("configs/unicl/small/") + name)) << name;
  }
}

/// The rates that the release would use, from its own schedule.
TEST(Recipes, UniclsRatesAreThoseOfTheRelease) {
  const auto config = load_train_config(source_path("configs/unicl/swin_t_imagenet1k.yaml"), {});
  const auto plan = plan_steps(config, 1, 1'281'167);
  const LrSchedule schedule(config.schedule, config.optimizer.lr, plan.warmup_steps, plan.total_steps, plan.geometry);
  EXPECT_DOUBLE_EQ(schedule.at(0), 5e-7 * 8);
  EXPECT_NEAR(schedule.at(plan.warmup_steps), 5e-4 * 8, 1e-5);
  EXPECT_NEAR(schedule.at(plan.warmup_steps + 1), 0.94 * 5e-4 * 8, 0.01 * 5e-4 * 8);  // the jump
  EXPECT_NEAR(schedule.at(plan.total_steps - 1), 5e-6 * 8, 1e-7);
}

}  // namespace
}  // namespace triptych

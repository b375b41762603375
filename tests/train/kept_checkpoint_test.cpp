// What an earlier program saved is read, and training goes on as it did there.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "core/base/atomic_file.h"
#include "core/objective/objective_table.h"
#include "core/train/checkpoint.h"
#include "core/train/trainer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

constexpr int kStepsBefore = 2, kStepsAfter = 3;

/// A run too small to need corpora: its batches are keyed draws.
class KeptRun {
 public:
  explicit KeptRun(Collectives& comm)
      : objective_(make_objective(config().objective, config().model, {}, {})),
        trainer_(config(), plan_steps(config(), 1, 100), *objective_, comm),
        names_(names_of_model(objective_->module())) {}

  double step() {
    const auto number = trainer_.steps_done();
    Batch batch;
    batch.images = draw({static_cast<std::uint64_t>(number), 1}, {6, 1, 8, 8, 3}).to(at::kFloat);
    batch.tokens = (at::arange(6, at::kLong) + number).view({6, 1, 1}).expand({6, 1, 6}).contiguous();
    batch.tokens.select(2, 4).fill_(29);
    batch.labels = at::arange(6, at::kLong).div(2, "floor");
    batch.sample_ids = at::arange(6, at::kLong);
    batch.first_position = number * 6;
    return trainer_.step({batch}).loss;
  }
  VisitState state() {
    return [this](StateVisitor& visitor) { trainer_.visit_state(visitor); };
  }
  const std::set<std::string>& names() const { return names_; }
  const Trainer& trainer() const { return trainer_; }

 private:
  static TrainConfig config() {
    TrainConfig config;
    config.model.image = VitConfig{.image_size = 8, .patch_size = 4, .width = 8, .depth = 1, .heads = 2};
    config.model.text = CausalTransformerConfig{.context = 6, .width = 8, .depth = 1, .heads = 2, .vocabulary = 30};
    config.model.embed_dim = 6;
    config.objective = UniclConfig{};
    config.train.global_batch = 6;
    config.schedule.total = steps(20);
    config.schedule.warmup = steps(4);
    return config;
  }
  std::unique_ptr<Objective> objective_;
  Trainer trainer_;
  std::set<std::string> names_;
};

void write_kept(const fs::path& folder, Collectives& comm) {
  KeptRun run(comm);
  for (int i = 0; i < kStepsBefore; ++i) run.step();
  Manifest manifest;
  manifest.step = run.trainer().steps_done();
  manifest.samples_seen = run.trainer().samples_seen();
  manifest.device = "cpu";
  manifest.instruction_set = "AVX2";
  manifest.program = "triptych 0.1.0";
  write_checkpoint(folder, manifest, take_snapshot(run.state(), run.names()), "none: 1\n");
  std::string losses;
  for (int i = 0; i < kStepsAfter; ++i) {
    char text[40];
    std::snprintf(text, sizeof(text), "%a\n", run.step());
    losses += text;
  }
  write_file_atomically(folder / "next_losses.txt", losses);
}

/// What was saved is had again to the bit, and the losses that follow are those of that program, to the rounding of
/// other processors.
void expect_goes_on(const fs::path& folder, Collectives& comm) {
  const auto manifest = verify_checkpoint(folder);
  KeptRun run(comm);
  load_checkpoint(folder, run.state(), run.names());
  EXPECT_EQ(run.trainer().steps_done(), kStepsBefore);
  EXPECT_EQ(run.trainer().samples_seen(), kStepsBefore * 6);
  const TempDir again;
  write_checkpoint(again / "again", manifest, take_snapshot(run.state(), run.names()), "none: 1\n");
  EXPECT_EQ(verify_checkpoint(again / "again").files, manifest.files);
  std::istringstream kept(read_file(folder / "next_losses.txt"));
  std::string line;
  for (int i = 0; i < kStepsAfter; ++i) {
    ASSERT_TRUE(std::getline(kept, line));
    EXPECT_NEAR(run.step(), std::strtod(line.c_str(), nullptr), 1e-6) << "step " << i;
  }
}

TEST(KeptCheckpoint, OfFormat3GoesOn) {
  run_ranks(1, [](Collectives& comm) { expect_goes_on(source_path("tests/kept/format_3"), comm); });
}

/// The next format's begins as a folder that this makes: TRIPTYCH_KEEP=FOLDER.
TEST(KeptCheckpoint, OfThisProgramGoesOn) {
  const TempDir temporary;
  const char* keep = std::getenv("TRIPTYCH_KEEP");
  const fs::path folder = keep == nullptr ? temporary / "kept" : fs::path(keep);
  run_ranks(1, [&](Collectives& comm) {
    write_kept(folder, comm);
    expect_goes_on(folder, comm);
  });
}

}  // namespace
}  // namespace triptych

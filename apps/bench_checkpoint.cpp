// The trainer's own way of saving, timed.
#include "apps/bench_checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "apps/bench_trainer.h"
#include "apps/scratch_folder.h"
#include "core/base/clock.h"
#include "core/train/checkpoint_store.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

std::int64_t folder_bytes(const fs::path& folder) {
  std::int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) bytes += static_cast<std::int64_t>(entry.file_size());
  return bytes;
}

}  // namespace

nlohmann::ordered_json bench_checkpoint(const TrainConfig& config, double seconds, Launch& launch) {
  BenchTrainer bench(config, "", launch);
  auto& trainer = bench.trainer();
  bench.step();  // moments that are not 0
  const auto model_names = names_of_model(bench.objective().module());
  const VisitState visit = [&](StateVisitor& visitor) { trainer.visit_state(visitor); };
  const ScratchFolder scratch;
  const CheckpointStore store(scratch.path());
  CheckpointWriter writer(store, config.checkpoint, bench.plan().geometry);

  double held = 0;  // by the copy of the save before, in a step that would change what is copied
  trainer.before_change([&] {
    const auto begin = Clock::now();
    writer.wait_for_copy();
    held += seconds_since(begin);
  });
  double blocked = 1e9, written = 1e9, loaded = 1e9, step_alone = 1e9, step_beside = 1e9;
  const auto start = Clock::now();
  for (int saves = 0; saves < 2 || seconds_since(start) < seconds; ++saves) {
    step_alone = std::min(step_alone, bench.step().seconds);
    held = 0;
    const auto begin = Clock::now();
    trainer.check_weights();
    writer.save([&](StateSnapshot room) {
      SaveJob job;
      job.manifest.step = trainer.steps_done();
      job.snapshot = begin_snapshot(visit, model_names, std::move(room));
      return job;
    });
    const double staged = seconds_since(begin);
    step_beside = std::min(step_beside, bench.step().seconds);
    blocked = std::min(blocked, staged + held);
    writer.wait();
    if (writer.failures_in_a_row() > 0) throw StorageError("bench checkpoint: " + writer.last_error());
    written = std::min(written, writer.last_write_seconds());
  }
  const auto folder = store.path(store.steps().front());
  for (int i = 0; i < 2; ++i) {
    const auto begin = Clock::now();
    verify_checkpoint(folder);
    load_checkpoint(folder, visit, model_names);
    loaded = std::min(loaded, seconds_since(begin));
  }
  const auto bytes = static_cast<double>(folder_bytes(folder));
  return {{"parameters", bench.objective().module().parameter_count()},
          {"megabytes", bytes / 1e6},
          {"best_blocked_s", blocked},
          {"best_step_s", step_alone},
          {"best_step_beside_save_s", step_beside},
          {"best_write_s", written},
          {"write_mb_per_s", bytes / 1e6 / written},
          {"best_load_s", loaded}};
}

}  // namespace triptych

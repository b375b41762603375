// A trainer on one batch of made-up rows, or of a file's: what benchmarks of whole steps run.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "apps/bench_parts.h"
#include "core/objective/objective.h"
#include "core/train/device_copy.h"
#include "core/train/trainer.h"
#include "distributed/launch.h"

namespace triptych {

class BenchTrainer {
 public:
  /// inputs: a safetensors file with "images" and "tokens"; empty: made up. Collective.
  BenchTrainer(const TrainConfig& config, const std::string& inputs, Launch& launch);
  StepReport step() { return trainer_->step(batches_); }
  /// Measures the parts of the steps from now on; null: of none. `parts` outlives them.
  void time_parts(StepParts* parts) { objective_->time_parts(parts); }

  Objective& objective() { return *objective_; }
  Trainer& trainer() { return *trainer_; }
  const StepPlan& plan() const { return plan_; }

 private:
  StepPlan plan_;
  std::unique_ptr<TimedObjective> objective_;
  std::unique_ptr<Trainer> trainer_;
  std::vector<Batch> batches_;
};

}  // namespace triptych

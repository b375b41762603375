// The whole configuration of a run: every section beside its owner, composed here.
#pragma once
#include <cstdint>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/model/model_config.h"
#include "core/objective/objective_config.h"
#include "core/train/checkpoint_config.h"
#include "core/train/distributed_config.h"
#include "core/train/log_config.h"
#include "core/train/loop_config.h"
#include "core/train/optimizer_config.h"
#include "core/train/run_config.h"
#include "core/train/schedule_config.h"
#include "data/data_config.h"

namespace triptych {

struct TrainConfig {
  RunConfig run;
  DataConfig data;
  ModelConfig model;
  ObjectiveConfig objective;
  LoopConfig train;
  DistributedConfig distributed;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  CheckpointConfig checkpoint;
  std::vector<EvalConfig> eval;
  LogConfig log;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("run", c.run, "name, folder, seed");
    field("data", c.data, "corpora, order, augmentation");
    field("model", c.model, "towers");
    field("objective", c.objective, "the published method that is trained");
    field("train", c.train, "batch, precision, device, guards");
    field("distributed", c.distributed, "what bits may depend on");
    field("optimizer", c.optimizer, "the update");
    field("schedule", c.schedule, "length of the run, learning rate by step");
    field("checkpoint", c.checkpoint, "when state is saved and what stays");
    field("eval", c.eval, "measurements on held-out data during training");
    field("log", c.log, "what is written while training");
  }
  /// Contradictions between sections that need neither data nor ranks. Throws FieldError.
  void validate() const;
};

/// The arithmetic of a run on `ranks` ranks over corpora of E records.
struct StepPlan {
  std::int64_t local_batch = 0;  ///< rows of a rank in a step
  std::int64_t micro_batch = 0;  ///< rows of one forward; divides local_batch; with virtual shards those of a shard
  std::int64_t total_steps = 0;
  std::int64_t warmup_steps = 0;
  RunGeometry geometry;
};

/// Rows of a rank in a step, and of one forward.
struct BatchPlan {
  std::int64_t local = 0, micro = 0;
};

/// Throws ConfigError with the key to change: more ranks than rows, a batch that does not divide, virtual shards that
/// do not divide among the ranks.
BatchPlan plan_batch(const TrainConfig& config, std::int64_t ranks);

/// Throws ConfigError as plan_batch, where the objective's negatives do not meet, and for a warm-up longer than the run
/// or not of the schedule's stairs.
StepPlan plan_steps(const TrainConfig& config, int ranks, std::int64_t records_per_epoch);

}  // namespace triptych

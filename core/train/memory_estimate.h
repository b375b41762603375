// How much memory a run will need, by part, before it needs it: a trace of the towers' step and plain counts of the
// rest.
#pragma once
#include <cstdint>
#include <memory>

#include "core/objective/loss_cost.h"
#include "core/objective/objective.h"
#include "core/train/step_trace.h"
#include "core/train/train_config.h"

namespace triptych {

/// Bytes of one rank: on the CPU all of the process, on a GPU what lies there.
struct MemoryEstimate {
  std::int64_t weights = 0;      ///< parameters, buffers, their running average
  std::int64_t gradients = 0;    ///< in the buckets of the averaging; twice where micro-batches add up beside them;
                                 ///< with virtual shards the sums of a rank's
  std::int64_t optimizer = 0;    ///< both moments; a rank's share of them with optimizer.shard
  std::int64_t activations = 0;  ///< a micro-batch's at the worst moment, with casts of weights and allocator's slack
  std::int64_t loss = 0;         ///< what the loss adds to them: all ranks' embeddings, tiles; scores of all classes
  std::int64_t queue = 0;        ///< embeddings of earlier steps
  std::int64_t batches = 0;      ///< pictures and tokens; on the CPU those decoded ahead, on a GPU the next ones
  std::int64_t snapshot = 0;     ///< rank 0 on the CPU: the copy that is written while training goes on
  std::int64_t program = 0;      ///< libraries; a GPU's context
  std::int64_t total() const {
    return weights + gradients + optimizer + activations + loss + queue + batches + snapshot + program;
  }
  /// Of `ranks` ranks that share a machine's memory, one of which writes checkpoints: bytes of one.
  std::int64_t shared_by(std::int64_t ranks) const { return total() - snapshot + snapshot / ranks; }
};

/// One rank's part of a run.
struct RankShape {
  std::int64_t ranks = 1, rank = 0;
  std::int64_t local_batch = 1, micro_batch = 1;
  std::int64_t classes = 0;  ///< labels of the corpora, for a head over them
  at::DeviceType device = at::kCPU;
};

/// The objective of a run on the meta device: shapes without memory, frozen parameters as the optimizer section says.
std::unique_ptr<Objective> objective_on_meta(const TrainConfig& config, const CorpusFacts& facts);

/// One micro-batch of it.
StepTrace trace_step(Objective& on_meta, const TrainConfig& config, const RankShape& shape);

/// `trace`: of shape.micro_batch rows, by trace_step.
MemoryEstimate estimate_memory(Objective& on_meta, const TrainConfig& config, const RankShape& shape,
                               const StepTrace& trace);

/// Whose rows the loss of a rank is computed of: with virtual shards those of one rank that has all of them.
RankShape shape_of_loss(const TrainConfig& config, RankShape shape);

/// That of the run's objective, in the types of its precision.
LossCost loss_cost(const TrainConfig& config, const BatchSpec& spec, const RankShape& shape);

/// The configuration with texts of another length: what a step takes where padding is trimmed. Position tables then
/// have fewer rows, which nothing but a trace sees. Unchanged where texts are not trimmed, or there are
/// none, and for 0 tokens.
TrainConfig with_text_tokens(TrainConfig config, std::int64_t tokens);

/// The memory that `sharers` ranks of a machine have together.
struct SharedMemory {
  std::int64_t bytes = 0, sharers = 1;
  bool holds(const MemoryEstimate& estimate) const { return estimate.shared_by(sharers) <= bytes / sharers; }
};

/// Throws ConfigError that names the key to change when `estimate`, with `micro_batch` rows at a time, is more than a
/// rank has.
void check_memory(const MemoryEstimate& estimate, const SharedMemory& memory, const TrainConfig& config,
                  std::int64_t micro_batch);

}  // namespace triptych

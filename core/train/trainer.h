// One optimizer step over all ranks, on one screen. Logging, saving and evaluating live outside (train_run.cpp).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/objective/objective.h"
#include "core/train/loss_scaler.h"
#include "core/train/lr_schedule.h"
#include "core/train/optimizer.h"
#include "core/train/step_guard.h"
#include "core/train/train_config.h"
#include "core/train/weight_ema.h"
#include "distributed/gradient_sync.h"
#include "distributed/thread_backend.h"

namespace triptych {

/// What train.precision, train.attention and train.activation_checkpointing say.
Computation computation_of(const LoopConfig& config);

/// What a step did; the same on every rank.
struct StepReport {
  std::int64_t step = 0;            ///< steps done, this one included
  std::int64_t first_position = 0;  ///< of its global batch
  double loss = 0;                  ///< of the global batch
  std::vector<std::pair<std::string, double>> terms;
  std::vector<double> loss_by_rank;
  double lr = 0;
  double grad_norm = 0;  ///< before clipping
  Verdict verdict = Verdict::kTake;
  double seconds = 0;
};

class Trainer {
 public:
  /// Freezes parameters by optimizer.freeze. Collective: broadcasts all from rank 0. `objective` and
  /// `comm` must outlive the trainer.
  Trainer(const TrainConfig& config, const StepPlan& plan, Objective& objective, Collectives& comm);

  /// Called in every step, on every rank at the same place, before anything changes that visit_state lists: who copies
  /// or hashes the state may go on until then. It may talk to the other ranks, and throw on all of them.
  void before_change(std::function<void()> call) { before_change_ = std::move(call); }

  /// `micro_batches`: this rank's rows of the global batch at samples_seen(), on the model's device. Throws
  /// NotFiniteError on every rank alike, naming step and samples, when too many steps in a row were refused.
  /// Collective.
  StepReport step(std::vector<Batch> micro_batches);

  /// Throws NotFiniteError, on every rank alike, if a weight is not finite: an update may do that although its gradient
  /// was finite.
  void check_weights() const;

  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t samples_seen() const { return samples_seen_; }  ///< position of the next global batch
  const StepGuard& guard() const { return guard_; }
  /// Null but in fp16.
  const LossScaler* scaler() const { return scaler_ ? &*scaler_ : nullptr; }
  /// Null without train.ema.
  WeightEma* ema() { return ema_ ? &*ema_ : nullptr; }
  /// All that the next steps depend on: objective, optimizer, guard, counters. While a WholeState lives.
  void visit_state(StateVisitor& visitor);
  /// What of it every rank must hold alike: all but the moments that optimizer.shard gives to one rank each.
  void visit_replicas(StateVisitor& visitor);

  /// With optimizer.shard a rank holds a part of the state. While this lives rank 0 holds all of it (collective), or
  /// every rank has the room for all of it, to be loaded.
  class WholeState {
   public:
    enum class Where { kRoot, kEveryRank };
    WholeState(Trainer& trainer, Where where);
    ~WholeState();
    WholeState(const WholeState&) = delete;
    WholeState& operator=(const WholeState&) = delete;

   private:
    Trainer& trainer_;
  };

 private:
  using Trained = std::pair<std::vector<NamedTensor>, std::vector<double>>;  ///< parameters and their lr_factors
  Trainer(const TrainConfig& config, const StepPlan& plan, Objective& objective, Collectives& comm,
          const Trained& trained);
  StepClock clock() const;
  void visit_counters(StateVisitor& visitor);
  Verdict judge(const StepReport& report);
  void add_losses(const LossReport& local, StepReport& report);
  bool sharded() const { return config_.distributed.virtual_shards > 0; }
  [[noreturn]] void throw_not_finite(const StepReport& report, const std::vector<Batch>& micro_batches);

  const TrainConfig config_;
  const StepPlan plan_;
  Objective& objective_;
  Collectives& comm_;
  std::vector<NamedTensor> trained_;
  GradientSync sync_;
  std::optional<ThreadGroup> alone_;  ///< with virtual shards: whom a loss over all rows meets
  AdamW optimizer_;
  LrSchedule schedule_;
  StepGuard guard_;
  std::optional<LossScaler> scaler_;  ///< fp16
  std::optional<WeightEma> ema_;
  std::int64_t steps_done_ = 0, samples_seen_ = 0;
  std::function<void()> before_change_ = [] {};
};

}  // namespace triptych

// Time of a training step by part, for the objectives that name their parts.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/objective/objective.h"
#include "core/objective/step_parts.h"

namespace triptych {

/// Another objective, which it lends a stopwatch at the beginning of each step: the trainer measures nothing.
class TimedObjective : public Objective {
 public:
  explicit TimedObjective(std::unique_ptr<Objective> timed) : timed_(std::move(timed)) {}
  /// Null: steps are not measured. `parts` outlives them.
  void time_parts(StepParts* parts) { parts_ = parts; }

  BatchSpec needs() const override { return timed_->needs(); }
  SyncForm sync_form() const override { return timed_->sync_form(); }
  std::vector<at::Tensor> encode(const Batch& micro_batch, StepScope& scope) override {
    return timed_->encode(micro_batch, scope);
  }
  void begin_step(StepScope& scope) override {
    scope.time_parts(parts_);
    timed_->begin_step(scope);
  }
  bool begin_step_changes_state() const override { return timed_->begin_step_changes_state(); }
  LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) override {
    return timed_->accumulate(micro_batches, scope);
  }
  void after_update(StepScope& scope) override { timed_->after_update(scope); }
  void visit_state(StateVisitor& visitor) override { timed_->visit_state(visitor); }
  Module& module() override { return timed_->module(); }
  Encoders encoders() override { return timed_->encoders(); }
  std::vector<std::string> no_decay() const override { return timed_->no_decay(); }

 private:
  std::unique_ptr<Objective> timed_;
  StepParts* parts_ = nullptr;
};

struct TimedStep {
  double seconds = 0;
  std::vector<StepParts::Part> parts;
};

/// Median and best seconds of each part over some steps, and its share of all medians. "other": what no part counts,
/// such as averaging gradients and the optimizer's update.
nlohmann::ordered_json part_table(const std::vector<TimedStep>& steps);

}  // namespace triptych

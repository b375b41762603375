// When a run evaluates, and which of its checkpoints is the best. Evaluating draws nothing and changes no training bit.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/eval/evaluator.h"
#include "core/objective/objective.h"
#include "core/train/train_config.h"

namespace triptych {

using Metrics = std::vector<std::pair<std::string, double>>;  ///< "eval/zero_shot/top1" -> 0.45

class Evaluations {
 public:
  /// Opens the held-out corpora. Throws ConfigError when the objective cannot serve an entry, an entry's classes are
  /// not among the trained `class_names`, or checkpoint.keep_best names a metric that does not exist.
  Evaluations(const TrainConfig& config, Objective& objective, const StepPlan& plan,
              const std::vector<std::string>& class_names);
  /// Something is due after `step` and was not run yet.
  bool due(std::int64_t step) const;
  /// Runs what is due after `step`; all at the end of the run. `stop` is asked (agreed by all ranks) between two
  /// evaluators; when it says true the evaluation of this step counts as not run and nothing is returned. Collective.
  Metrics run(std::int64_t step, EvalScope scope, const std::function<bool()>& stop);
  /// Compares with the best so far by checkpoint.keep_best; true if these are better.
  bool improves(const Metrics& metrics, std::int64_t step);
  /// The step whose checkpoint stays; nothing before the first evaluation, or without keep_best.
  std::optional<std::int64_t> best_step() const;
  void visit_state(StateVisitor& visitor);

 private:
  struct Entry {
    std::string name;
    Duration every;
    std::unique_ptr<Evaluator> evaluator;
  };
  bool due(const Entry& entry, std::int64_t step) const;
  Objective& objective_;
  StepPlan plan_;
  std::optional<KeepBestConfig> keep_best_;
  std::vector<Entry> entries_;
  std::int64_t evaluated_step_ = -1;  ///< the last step after which all that was due has run
  std::int64_t best_step_ = -1;
  double best_value_ = 0;
};

}  // namespace triptych

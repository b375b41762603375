// Schedule of evaluators and memory of the best result.
#include "core/train/evaluations.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "core/base/strings.h"
#include "core/eval/evaluator_table.h"
#include "core/objective/embedding.h"

namespace triptych {

Evaluations::Evaluations(const TrainConfig& config, Objective& objective, const StepPlan& plan,
                         const std::vector<std::string>& class_names)
    : objective_(objective), plan_(plan), keep_best_(config.checkpoint.keep_best) {
  const auto encoders = objective.encoders();
  const auto name = std::visit([](const auto& c) { return std::string(c.kTag); }, config.objective);
  std::vector<std::string> metrics;
  for (const auto& entry : config.eval) {
    auto evaluator = make_evaluator(entry, config.data, image_size(config.model));
    check_served(*evaluator, encoders, name);
    evaluator->check_labels(class_names);
    for (const auto& metric : evaluator->metric_names())
      metrics.push_back("eval/" + evaluator_name(entry) + "/" + metric);
    entries_.push_back({evaluator_name(entry), evaluator_every(entry), std::move(evaluator)});
  }
  if (keep_best_ && std::find(metrics.begin(), metrics.end(), keep_best_->metric) == metrics.end()) {
    throw ConfigError("checkpoint.keep_best.metric: there is no " + keep_best_->metric + "; the eval section gives " +
                      (metrics.empty() ? "nothing" : join(metrics, ", ")));
  }
}

bool Evaluations::due(const Entry& entry, std::int64_t step) const {
  return step >= plan_.total_steps || (step > 0 && entry.every.due(step, plan_.geometry));
}

bool Evaluations::due(std::int64_t step) const {
  if (evaluated_step_ == step) return false;
  for (const auto& entry : entries_) {
    if (due(entry, step)) return true;
  }
  return false;
}

Metrics Evaluations::run(std::int64_t step, EvalScope scope, const std::function<bool()>& stop) {
  const c10::NoGradGuard no_grad;
  Metrics metrics;
  const auto encoders = objective_.encoders();
  for (auto& entry : entries_) {
    if (!due(entry, step)) continue;
    if (stop()) return {};
    fault_point(FaultPoint::kEvaluation);
    for (const auto& metric : entry.evaluator->run(encoders, scope)) {
      metrics.emplace_back("eval/" + entry.name + "/" + metric.name, metric.value);
    }
  }
  evaluated_step_ = step;
  return metrics;
}

bool Evaluations::improves(const Metrics& metrics, std::int64_t step) {
  if (!keep_best_) return false;
  for (const auto& [name, value] : metrics) {
    if (name != keep_best_->metric) continue;
    const bool better = keep_best_->mode == "max" ? value > best_value_ : value < best_value_;
    if (!std::isfinite(value) || (best_step_ >= 0 && !better)) return false;
    best_value_ = value;
    best_step_ = step;
    return true;
  }
  return false;  // its evaluator was not due
}

std::optional<std::int64_t> Evaluations::best_step() const {
  return best_step_ >= 0 ? std::optional(best_step_) : std::nullopt;
}

void Evaluations::visit_state(StateVisitor& visitor) {
  const auto wanted = keep_best_ ? keep_best_->mode + " " + keep_best_->metric : std::string();
  auto best_of = wanted;
  visitor.text("eval.best_of", best_of);
  visitor.integer("eval.evaluated_step", evaluated_step_);
  visitor.integer("eval.best_step", best_step_);
  visitor.real("eval.best_value", best_value_);
  if (best_of != wanted) {  // another metric was the judge when this was saved
    best_step_ = -1;
    best_value_ = 0;
  }
}

}  // namespace triptych

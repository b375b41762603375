// Pictures through the objective's head.
#include "core/eval/classify.h"

#include <ATen/ATen.h>

#include <utility>

#include "core/eval/class_match.h"
#include "core/eval/top_counts.h"

namespace triptych {

Classify::Classify(const ClassifyConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode)
    : name_(config.label.empty() ? ClassifyConfig::kTag : config.label),
      held_out_(std::move(corpus), decode, "image_label", name_) {}

std::vector<std::int64_t> Classify::labels_of(const std::vector<std::string>& class_names) const {
  std::vector<std::vector<std::string>> known;
  for (const auto& name : class_names) known.push_back({name});
  return match_classes(held_out_.corpus().class_names(), known,
                       "eval " + name_ + ": corpus '" + held_out_.corpus().config().path + "' and the training labels");
}

void Classify::check_labels(const std::vector<std::string>& class_names) const {
  labels_of(class_names);
}

std::vector<Metric> Classify::run(const Encoders& encoders, EvalScope& scope) {
  const auto label_of = at::tensor(labels_of(scope.class_names), at::kLong);
  TopCounts counts(static_cast<std::int64_t>(scope.class_names.size()));
  std::int64_t unusable = held_out_.for_each_block(scope, [&](const EvalRows& rows) {
    counts.add(as_float(encoders.classify(rows.images)), label_of.index_select(0, rows.labels));
  });
  held_out_.require_rows(counts.reduce(scope.comm));
  auto metrics = counts.metrics();
  metrics.push_back({"unusable", static_cast<double>(scope.comm.sum(unusable))});
  return metrics;
}

}  // namespace triptych

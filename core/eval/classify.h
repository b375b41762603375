// Classification by the objective's own head (cross-entropy's linear head): the labels it was trained on.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/eval/held_out.h"
#include "core/eval/top_counts.h"

namespace triptych {

class Classify : public Evaluator {
 public:
  Classify(const ClassifyConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode);
  std::string name() const override { return name_; }
  Needs needs() const override { return {.classify = true}; }
  std::vector<std::string> metric_names() const override { return TopCounts::names({"unusable"}); }
  void check_labels(const std::vector<std::string>& class_names) const override;
  /// TopCounts' metrics over the training labels, then "unusable". Throws ConfigError when a class of the corpus has no
  /// name that scope.class_names knows.
  std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) override;

 private:
  std::vector<std::int64_t> labels_of(const std::vector<std::string>& class_names) const;

  std::string name_;
  HeldOut held_out_;
};

}  // namespace triptych

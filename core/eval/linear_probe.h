// Classification by a linear classifier on frozen features of the image tower.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/eval/held_out.h"
#include "core/eval/top_counts.h"

namespace triptych {

/// Linear probe (Radford et al. 2021, arXiv:2103.00020, appendix A.3): multinomial logistic regression on the tower's
/// features before any projection or head (see Encoders::features), of training pictures without augmentation. Each
/// feature is shifted and scaled to mean 0 and deviation 1 over the bank. Of the penalties the one is taken that has
/// the best top-1 on every fifth picture of the bank when fitted on the others (the larger one if equal); the
/// classifier is then fitted again on the whole bank. Nothing is drawn: the same numbers on any number of ranks, each
/// of which tries its share of the penalties. Memory: all features of both corpora on every rank.
class LinearProbe : public Evaluator {
 public:
  /// Throws ConfigError when the bank holds fewer than 5 records or a held-out class has no name that the bank knows.
  LinearProbe(const LinearProbeConfig& config, std::unique_ptr<Corpus> corpus, std::unique_ptr<Corpus> bank,
              const DecodeConfig& decode);
  std::string name() const override { return name_; }
  Needs needs() const override { return {}; }
  std::vector<std::string> metric_names() const override {
    return TopCounts::names({"unusable", "bank", "l2", "validation_top1"});
  }
  /// TopCounts' metrics over the bank's classes, then "unusable" (of both corpora), "bank" (pictures that it was fitted
  /// on), "l2" (the chosen penalty) and "validation_top1" (on the fifth that chose it).
  std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) override;

 private:
  std::string name_;
  std::vector<double> l2_;  // descending
  HeldOut held_out_, bank_;
  std::vector<std::int64_t> bank_class_of_;  // by class of the held-out corpus
};

}  // namespace triptych

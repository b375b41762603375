// Zero-shot classification: a picture's class is the one whose text embedding is nearest.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/eval/held_out.h"
#include "core/eval/top_counts.h"

namespace triptych {

/// Class embeddings as in encode_classes(), cosine scores, first maximum. Source: Radford et al. 2021
/// (arXiv:2103.00020), section 3.1; UniCL evaluates so with 81 prompts. Counts are summed, never rank averages.
class ZeroShot : public Evaluator {
 public:
  ZeroShot(const ZeroShotConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode);
  std::string name() const override { return name_; }
  Needs needs() const override { return {.text = true}; }
  std::vector<std::string> metric_names() const override { return TopCounts::names({"unusable"}); }
  /// TopCounts' metrics, then "unusable": records that could not be read.
  std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) override;

 private:
  std::string name_;
  std::vector<std::string> templates_;
  HeldOut held_out_;
};

}  // namespace triptych

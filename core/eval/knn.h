// Classification by the k nearest training pictures: what the image embedding alone knows.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/eval/held_out.h"
#include "core/eval/top_counts.h"

namespace triptych {

/// Weighted k-NN (Wu et al. 2018, arXiv:1805.01978, section 3.4): each of the k most similar pictures of the bank votes
/// for its class with exp(cosine / temperature). Equal similarities: the lower bank record comes first. The bank is
/// streamed against all queries, so memory is queries x (d + k), not bank x d.
class Knn : public Evaluator {
 public:
  /// Throws ConfigError when the bank holds fewer than k records or a held-out class has no name that the bank knows.
  Knn(const KnnConfig& config, std::unique_ptr<Corpus> corpus, std::unique_ptr<Corpus> bank,
      const DecodeConfig& decode);
  std::string name() const override { return name_; }
  Needs needs() const override { return {}; }
  std::vector<std::string> metric_names() const override { return TopCounts::names({"unusable", "bank"}); }
  /// TopCounts' metrics over the bank's classes, then "unusable" (of both corpora) and "bank" (pictures that vote).
  std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) override;

 private:
  std::string name_;
  std::int64_t k_;
  double temperature_;
  HeldOut held_out_, bank_;
  std::vector<std::int64_t> bank_class_of_;  // by class of the held-out corpus
};

}  // namespace triptych

// A held-out corpus and how it is walked: fixed blocks of records, each read and forwarded by one rank.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/eval/evaluator.h"
#include "data/corpus.h"
#include "data/loader.h"

namespace triptych {

class HeldOut {
 public:
  /// `corpus` is opened; `kind` ("image_text" or "image_label") is what `evaluator` needs. Throws ConfigError
  /// otherwise, and when none of its first 1,000 records can be used: not after hours of training.
  HeldOut(std::unique_ptr<Corpus> corpus, DecodeConfig decode, const std::string& kind, const std::string& evaluator);
  const Corpus& corpus() const { return *corpus_; }

  /// Reads this rank's blocks of scope.batch records in record order and calls `use` for each that has a usable row:
  /// the pictures are on scope.device, the rest on the CPU. Returns how many of this rank's records could not be used.
  std::int64_t for_each_block(const EvalScope& scope, const std::function<void(const EvalRows&)>& use) const;

  /// Records [block * scope.batch, + scope.batch), for any rank: rows as above, perhaps none.
  EvalRows read_block(const EvalScope& scope, std::int64_t block) const;

  /// Throws when no rank had a usable row. `usable`: summed over ranks.
  void require_rows(std::int64_t usable) const;

 private:
  void require_usable_start() const;

  std::unique_ptr<Corpus> corpus_;
  DecodeConfig decode_;
};

/// Embeddings as evaluators compute with them: float (or double, if the model is), finite or not.
at::Tensor as_float(const at::Tensor& embeddings);

}  // namespace triptych

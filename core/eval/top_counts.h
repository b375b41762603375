// Exact counts of a classification: right at 1, right at 5, rows, by class. Integers, so that their sum over ranks does
// not depend on how rows were dealt.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/eval/evaluator.h"

namespace triptych {

/// [n] int64: where each row's own column stands among its scores, 0 = best. Among equal scores the lower column comes
/// first, so a model that gives every column the same score is right as often as chance, no more. A score that is not a
/// number stands before every number: it never helps. scores [n, C], own int64 [n].
at::Tensor place_of_own(const at::Tensor& scores_nC, const at::Tensor& own_n);

/// [n] int64: where the best of each row's own columns stands among the columns that are not its own, 0 = best. Ties as
/// above; a row that holds NaN, or whose best own score is not finite, stands behind all: at C. own bool [n, C].
at::Tensor place_of_best(const at::Tensor& scores_nC, const at::Tensor& own_nC);

class TopCounts {
 public:
  explicit TopCounts(std::int64_t classes);
  /// Scores [n, C] of n rows of class `own` [n], on any device.
  void add(const at::Tensor& scores_nC, const at::Tensor& own_n);
  /// Collective: sums over ranks. Rows counted, over all ranks.
  std::int64_t reduce(Collectives& comm);
  /// After reduce(): top1, top5, per_class_mean (mean over classes that have rows of their share right at 1), samples,
  /// classes (columns), chance = 1 / classes, largest_class = share of the largest class.
  std::vector<Metric> metrics() const;
  /// Their names, and `more` behind them.
  static std::vector<std::string> names(std::initializer_list<std::string> more);

 private:
  at::Tensor rows_C_, top1_C_, top5_C_;  // int64, on the CPU
};

}  // namespace triptych

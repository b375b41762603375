// Records that could not be used: each counts once, however often and on whichever rank it is met, and too many end the
// run.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/module/state.h"
#include "core/types/batch.h"
#include "distributed/collectives.h"

namespace triptych {

class BadRecords {
 public:
  /// `error_budget`: the share of all `records` that may be bad (10 always may).
  BadRecords(double error_budget, std::int64_t records);
  /// Adds what all ranks met in this step; returns those that were not known, in order of position, on every rank
  /// alike. Collective: call it on every rank if any rank met one.
  std::vector<BadRecord> add(const std::vector<BadRecord>& local, Collectives& comm);
  /// Throws DataBudgetError on every rank alike when there are more than the budget allows.
  void check_budget(const std::vector<BadRecord>& latest, std::int64_t step) const;
  std::int64_t count() const { return static_cast<std::int64_t>(known_.size()); }
  void visit_state(StateVisitor& visitor);

 private:
  std::int64_t allowed_;
  std::set<std::int64_t> known_;  ///< sample ids
};

}  // namespace triptych

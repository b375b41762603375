// Refuses steps that would damage the weights, and counts them.
#include "core/train/step_guard.h"

#include <algorithm>
#include <cmath>

namespace triptych {
namespace {

constexpr std::int64_t kWarmNorms = 20;  // norms before a spike can be told from the start of training
constexpr std::int64_t kNormWindow = 100;

}  // namespace

Verdict StepGuard::judge(bool losses_finite, double grad_norm) {
  auto verdict = Verdict::kTake;
  if (!losses_finite || !std::isfinite(grad_norm)) {
    verdict = Verdict::kNotFinite;
  } else if (skip_norm_above_ > 0 && norms_ >= kWarmNorms && grad_norm > skip_norm_above_ * mean_norm_) {
    verdict = Verdict::kSpike;
  }
  if (verdict != Verdict::kTake) {
    ++in_a_row_;
    ++in_all_;
    return verdict;
  }
  in_a_row_ = 0;
  ++norms_;
  mean_norm_ += (grad_norm - mean_norm_) / static_cast<double>(std::min(norms_, kNormWindow));
  return verdict;
}

void StepGuard::visit_state(StateVisitor& visitor) {
  visitor.integer("guard.skipped_in_a_row", in_a_row_);
  visitor.integer("guard.skipped_in_all", in_all_);
  visitor.integer("guard.norms", norms_);
  visitor.real("guard.mean_norm", mean_norm_);
}

}  // namespace triptych

// Which steps are refused: loss or gradients that are not finite, and (if asked for) spikes of the gradient norm.
#pragma once
#include <cstdint>
#include <string>

#include "core/module/state.h"
#include "core/train/loop_config.h"

namespace triptych {

enum class Verdict {
  kTake,
  kNotFinite,
  kSpike,
  kOverflow  ///< of fp16 under its loss scale
};

/// Judges numbers that are the same on every rank, so every rank comes to the same verdict.
class StepGuard {
 public:
  explicit StepGuard(const LoopConfig& config)
      : max_skipped_(config.max_skipped_steps), skip_norm_above_(config.skip_norm_above) {}

  /// `losses_finite`: of every rank. Counts refusals in a row; an accepted norm enters the running mean.
  Verdict judge(bool losses_finite, double grad_norm);
  /// More refusals in a row than train.max_skipped_steps.
  bool exhausted() const { return in_a_row_ > max_skipped_; }
  std::int64_t skipped_in_a_row() const { return in_a_row_; }
  std::int64_t skipped_in_all() const { return in_all_; }
  double mean_norm() const { return mean_norm_; }
  void visit_state(StateVisitor& visitor);

 private:
  std::int64_t max_skipped_;
  double skip_norm_above_;
  std::int64_t in_a_row_ = 0, in_all_ = 0;
  std::int64_t norms_ = 0;  ///< accepted so far
  double mean_norm_ = 0;    ///< plain mean of the first 100, then moving with weight 1/100
};

}  // namespace triptych

// Learning rate by step: a pure function, so a resumed run needs no state of it.
#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>

#include "core/train/schedule_config.h"

namespace triptych {

/// Linear warm-up over w steps, then half a cosine from `peak` at step w to `final_lr` at step T (never reached: the
/// last step is T - 1), or a constant:
///   s < w:   peak (s + 1) / w
///   cosine:  final + (peak - final) (1 + cos(pi (s - w) / (T - w))) / 2
class LrSchedule {
 public:
  LrSchedule(const ScheduleConfig& config, double peak, std::int64_t warmup_steps, std::int64_t total_steps)
      : peak_(peak),
        final_(config.final_lr),
        cosine_(config.shape == "cosine"),
        warmup_(warmup_steps),
        total_(total_steps) {}

  /// `step` counts from 0.
  double at(std::int64_t step) const {
    if (step < warmup_) return peak_ * static_cast<double>(step + 1) / static_cast<double>(warmup_);
    if (!cosine_) return peak_;
    if (step >= total_) return final_;
    const double done = static_cast<double>(step - warmup_) / static_cast<double>(total_ - warmup_);
    return final_ + (peak_ - final_) * (1 + std::cos(std::numbers::pi * done)) / 2;
  }

 private:
  double peak_, final_;
  bool cosine_;
  std::int64_t warmup_, total_;
};

}  // namespace triptych

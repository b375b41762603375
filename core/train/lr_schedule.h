// Learning rate by step: a pure function, so a resumed run needs no state of it.
#pragma once
#include <cstdint>
#include <optional>

#include "core/base/duration.h"
#include "core/train/schedule_config.h"

namespace triptych {

inline constexpr std::int64_t kTclStair = 100;  ///< steps between two calls of TCL's scheduler in the first epoch

/// Steps s count from 0; w: warm-up, T: all steps; peak, first (warmup_lr) and final rate.
///   cosine:    peak (s + 1) / w while s < w, then final + (peak - final) (1 + cos(pi (s - w) / (T - w))) / 2
///   constant:  the same rise, then peak
///   unicl:     UniCL's release (timm's scheduler, called after each step): with t = max(0, s - 1) the rise is
///              first + (peak - first) t / w while t < w; then a cosine over t / T, not over what is left: the rate
///              falls by a jump where warm-up ends, and everything is one step late
///   tcl:       TCL's release: in the first epoch w / 100 stairs of 100 steps from first to peak, each one step late
///              (plan_steps refuses another w); from epoch e = 1 on one rate an epoch,
///              final + (peak - final) (1 + cos(pi e / epochs)) / 2
///   one_cycle: torch's OneCycleLR: half a cosine from first to peak in w - 1 steps, half a cosine down to final
class LrSchedule {
 public:
  LrSchedule(const ScheduleConfig& config, double peak, std::int64_t warmup_steps, std::int64_t total_steps,
             const RunGeometry& run = {});

  double at(std::int64_t step) const;
  /// Of AdamW, where the schedule moves it.
  std::optional<double> beta1_at(std::int64_t step) const;

 private:
  double rising(std::int64_t step) const;
  double unicl(std::int64_t step) const;
  double tcl(std::int64_t step) const;
  /// From `from` by way of `top` to `to`.
  double one_cycle(std::int64_t step, double from, double top, double to) const;

  ScheduleConfig config_;
  double peak_, first_, final_;
  std::int64_t warmup_, total_;
  RunGeometry run_;
};

}  // namespace triptych

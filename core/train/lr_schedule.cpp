// The shapes, each as its authors run it.
#include "core/train/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace triptych {
namespace {

double share(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 1;
}

/// From `a` at done = 0 to `b` at done = 1 along half a cosine.
double half_cosine(double a, double b, double done) {
  return b + (a - b) * (1 + std::cos(std::numbers::pi * done)) / 2;
}

}  // namespace

LrSchedule::LrSchedule(const ScheduleConfig& config, double peak, std::int64_t warmup_steps, std::int64_t total_steps,
                       const RunGeometry& run)
    : config_(config), warmup_(warmup_steps), total_(total_steps), run_(run) {
  const double factor = config.reference_batch > 0 ? share(run.global_batch, config.reference_batch) : 1;
  peak_ = peak * factor;
  first_ = config.warmup_lr * factor;
  final_ = config.final_lr * factor;
}

double LrSchedule::at(std::int64_t step) const {
  if (config_.shape == "unicl") return unicl(step);
  if (config_.shape == "tcl") return tcl(step);
  if (config_.shape == "one_cycle") return one_cycle(step, first_, peak_, final_);
  if (step < warmup_) return rising(step);
  if (config_.shape == "constant") return peak_;
  return step >= total_ ? final_ : half_cosine(peak_, final_, share(step - warmup_, total_ - warmup_));
}

std::optional<double> LrSchedule::beta1_at(std::int64_t step) const {
  if (!config_.beta1) return std::nullopt;
  const auto [low, high] = *config_.beta1;
  return one_cycle(step, high, low, high);
}

double LrSchedule::rising(std::int64_t step) const {
  return peak_ * share(step + 1, warmup_);
}

double LrSchedule::unicl(std::int64_t step) const {
  const std::int64_t late = std::max<std::int64_t>(0, step - 1);
  if (late < warmup_) return first_ + (peak_ - first_) * share(late, warmup_);
  return late >= total_ ? final_ : half_cosine(peak_, final_, share(late, total_));
}

double LrSchedule::tcl(std::int64_t step) const {
  const std::int64_t epoch = step * run_.global_batch / run_.records_per_epoch;
  if (epoch > 0) {
    const auto epochs = static_cast<double>(total_) * static_cast<double>(run_.global_batch) /
                        static_cast<double>(run_.records_per_epoch);
    return half_cosine(peak_, final_, std::min(1.0, static_cast<double>(epoch) / std::ceil(epochs)));
  }
  const std::int64_t stairs = warmup_ / kTclStair, stair = std::max<std::int64_t>(0, step - 1) / kTclStair;
  return stair < stairs ? first_ + (peak_ - first_) * share(stair, stairs) : peak_;
}

double LrSchedule::one_cycle(std::int64_t step, double from, double top, double to) const {
  const std::int64_t up = std::max<std::int64_t>(1, warmup_ - 1), down = std::max<std::int64_t>(1, total_ - 1 - up);
  if (step <= up) return half_cosine(from, top, share(step, up));
  return half_cosine(top, to, std::min(1.0, share(step - up, down)));
}

}  // namespace triptych

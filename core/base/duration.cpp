// Durations as steps, and "is it time".
#include "core/base/duration.h"

#include <algorithm>
#include <cmath>

#include "core/base/strings.h"

namespace triptych {
namespace {

/// How many times `period` samples lie in `position` samples. `period` > 0 need not be whole: a third of an epoch is
/// not representable, so a quotient that misses a whole number by rounding counts as that number.
std::int64_t periods_in(double period, std::int64_t position) {
  if (period == std::floor(period) && period < 0x1p53) return position / static_cast<std::int64_t>(period);
  return static_cast<std::int64_t>(std::floor(static_cast<double>(position) / period * (1 + 1e-12)));
}

/// The duration in samples; not rounded, but a product that misses a whole number by rounding is that number.
double in_samples(const Duration& duration, const RunGeometry& run) {
  switch (duration.unit) {
    case Duration::Unit::kSteps:
      return duration.value * static_cast<double>(run.global_batch);
    case Duration::Unit::kSamples:
      return duration.value;
    case Duration::Unit::kEpochs:
      break;
  }
  const double product = duration.value * static_cast<double>(run.records_per_epoch);
  const double whole = std::round(product);
  return std::abs(product - whole) <= 1e-12 * std::max(1.0, product) ? whole : product;
}

}  // namespace

std::int64_t Duration::steps(const RunGeometry& run) const {
  if (!(value > 0)) return 0;
  if (unit == Unit::kSteps) return std::max<std::int64_t>(1, static_cast<std::int64_t>(value));
  const double samples_total = std::floor(in_samples(*this, run));
  // Beyond 2^62 samples a run never ends anyway; the bound keeps the conversion defined.
  const auto whole = static_cast<std::int64_t>(std::min(samples_total, 0x1p62));
  return std::max<std::int64_t>(1, whole / run.global_batch);
}

bool Duration::due(std::int64_t done, const RunGeometry& run) const {
  if (!(value > 0) || done < 1) return false;
  if (unit == Unit::kSteps) return done % std::max<std::int64_t>(1, static_cast<std::int64_t>(value)) == 0;
  const double period = in_samples(*this, run);
  return periods_in(period, done * run.global_batch) > periods_in(period, (done - 1) * run.global_batch);
}

std::string Duration::text() const {
  static constexpr const char* kNames[] = {"steps", "samples", "epochs"};
  return std::string("{") + kNames[static_cast<int>(unit)] + ": " + number_text(value) + "}";
}

}  // namespace triptych

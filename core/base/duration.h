// Lengths of a run carry their unit: {steps: 2000}, {samples: 1000000} or {epochs: 3}; exactly one of them.
#pragma once
#include <cstdint>
#include <string>

namespace triptych {

/// How a run's positions become steps; see "Order" in docs/architecture.md.
struct RunGeometry {
  std::int64_t global_batch = 1;
  std::int64_t records_per_epoch = 1;
};

struct Duration {
  enum class Unit { kSteps, kSamples, kEpochs };
  Unit unit = Unit::kSteps;
  double value = 0;  ///< steps and samples are whole numbers; epochs may be fractions

  /// Optimizer steps that fit: samples and epochs are rounded down, but a positive duration is at least 1 step.
  std::int64_t steps(const RunGeometry& run) const;
  /// True after step `done` (steps completed, >= 1) when a multiple of this duration was reached or crossed by that
  /// step. A zero duration is never due.
  bool due(std::int64_t done, const RunGeometry& run) const;
  /// "{steps: 2000}", as YAML.
  std::string text() const;
  bool operator==(const Duration&) const = default;
};

inline Duration steps(double n) {
  return {Duration::Unit::kSteps, n};
}
inline Duration samples(double n) {
  return {Duration::Unit::kSamples, n};
}
inline Duration epochs(double n) {
  return {Duration::Unit::kEpochs, n};
}

}  // namespace triptych

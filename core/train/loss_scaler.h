// The multiplier that keeps fp16's gradients above its smallest number (Micikevicius et al., arXiv:1710.03740).
#pragma once
#include <cstdint>

#include "core/module/state.h"

namespace triptych {

/// Judges numbers that are the same on every rank. Halves after a step that overflows, doubles after 2,000 in a row
/// that do not. At a scale of 1 an overflow is no longer the scale's doing.
class LossScaler {
 public:
  enum class Outcome { kFine, kOverflow };
  /// scale: at least 1.
  explicit LossScaler(double scale) : scale_(scale) {}

  double scale() const { return scale_; }
  std::int64_t overflows() const { return overflows_; }  ///< steps that were refused for it
  Outcome take(bool gradients_finite) {
    if (!gradients_finite) {
      fine_in_a_row_ = 0;
      if (scale_ == 1) return Outcome::kFine;
      scale_ = scale_ / 2 > 1 ? scale_ / 2 : 1;
      ++overflows_;
      return Outcome::kOverflow;
    }
    if (++fine_in_a_row_ < kStepsToDouble) return Outcome::kFine;
    fine_in_a_row_ = 0;
    if (scale_ < kLargest) scale_ *= 2;
    return Outcome::kFine;
  }
  void visit_state(StateVisitor& visitor) {
    visitor.real("scaler.scale", scale_);
    visitor.integer("scaler.fine_in_a_row", fine_in_a_row_);
    visitor.integer("scaler.overflows", overflows_);
  }

  static constexpr std::int64_t kStepsToDouble = 2000;
  static constexpr double kLargest = 1 << 24;

 private:
  double scale_;
  std::int64_t fine_in_a_row_ = 0, overflows_ = 0;
};

}  // namespace triptych

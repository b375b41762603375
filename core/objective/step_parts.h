// Where the time of a step goes, by the names that an objective gives its parts (StepScope::part).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace triptych {

/// A stopwatch with a reading for each part. A part that begins inside another stops that one's time until it ends, so
/// no second is counted twice.
class StepParts {
 public:
  struct Part {
    std::string name;
    double seconds = 0;
  };

  /// `wait` returns when the device has done all that it was asked for; it is called wherever a part begins or ends.
  explicit StepParts(std::function<void()> wait) : wait_(std::move(wait)) {}

  /// Counts for a part while it lives; with null for `parts` it does nothing.
  class Timed {
   public:
    Timed(StepParts* parts, const char* name);
    ~Timed() noexcept(false);
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;

   private:
    StepParts* parts_;
    int exceptions_;  ///< in flight when it began
  };

  /// What was counted since the last call, in the order in which the parts first began. No part may be running.
  std::vector<Part> take();

 private:
  void begin(const char* name);
  void end();
  void count();

  std::function<void()> wait_;
  std::vector<Part> parts_;
  std::vector<std::size_t> running_;  ///< the innermost last
  Clock::time_point since_;
};

}  // namespace triptych

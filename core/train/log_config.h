// The `log` section.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "core/base/config.h"
#include "core/base/duration.h"

namespace triptych {

struct ProfileConfig {
  std::array<std::int64_t, 2> steps = {10, 12};
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("steps", c.steps,
          "first and last step, as metrics.jsonl counts them, whose operators go to RUN/profile.json");
  }
  void validate() const {
    if (steps[0] < 1 || steps[1] < steps[0]) {
      throw FieldError("steps", "expected [first, last] with 1 <= first <= last");
    }
  }
};

struct LogConfig {
  Duration every = steps(10);
  bool tensorboard = true;
  bool step_record = false;
  bool ledger = false;
  std::optional<ProfileConfig> profile;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("every", c.every, "how often a line goes to metrics.jsonl and to the log");
    field("tensorboard", c.tensorboard, "write events.out.tfevents.* for TensorBoard");
    field("step_record", c.step_record, "write steps.jsonl: exact numbers and hashes of the state of every step; slow");
    field("ledger", c.ledger,
          "write ledger.jsonl: epoch, position, corpus and record of every sample, and whether it replaces a bad one");
    field("profile", c.profile, "write a trace of some steps (chrome://tracing, ui.perfetto.dev)");
  }
  void validate() const {
    if (!(every.value > 0)) throw FieldError("every", "must be positive, got " + every.text());
  }
};

}  // namespace triptych

// The `schedule` section: the length of the run and its learning rate by step.
#pragma once
#include <string>

#include "core/base/config.h"
#include "core/base/duration.h"

namespace triptych {

struct ScheduleConfig {
  std::string shape = "cosine";
  Duration total = epochs(10);
  Duration warmup = steps(0);
  double final_lr = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("shape", c.shape, "after warm-up: half a cosine down to final_lr, or constant",
          one_of({"cosine", "constant"}));
    field("total", c.total, "length of the run");
    field("warmup", c.warmup, "linear rise: step s (from 0) of w uses lr (s + 1) / w");
    field("final_lr", c.final_lr, "cosine: learning rate that the last step approaches", at_least(0));
  }
  void validate() const {
    if (!(total.value > 0)) throw FieldError("total", "a run needs at least one step, got " + total.text());
    if (warmup.unit == total.unit && warmup.value > total.value) {
      throw FieldError("warmup", warmup.text() + " is longer than schedule.total " + total.text());
    }
    if (shape == "constant" && final_lr != 0) {
      throw FieldError("final_lr", "has no meaning with shape: constant; remove it or use shape: cosine");
    }
  }
};

}  // namespace triptych

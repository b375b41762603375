// The `schedule` section: the length of the run and its learning rate by step.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/config.h"
#include "core/base/duration.h"

namespace triptych {

struct ScheduleConfig {
  std::string shape = "cosine";
  Duration total = epochs(10);
  Duration warmup = steps(0);
  double warmup_lr = 0, final_lr = 0;
  std::int64_t reference_batch = 0;
  std::optional<std::array<double, 2>> beta1 = {};
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("shape", c.shape,
          "cosine: after warm-up half a cosine down to final_lr; constant; or as published, quirks included "
          "(docs/objectives.md): unicl, tcl, one_cycle",
          one_of({"cosine", "constant", "unicl", "tcl", "one_cycle"}));
    field("total", c.total, "length of the run");
    field("warmup", c.warmup,
          "linear rise: step s (from 0) of w uses lr (s + 1) / w; the published shapes rise from warmup_lr, tcl in "
          "stairs of 100 steps: a multiple of 100");
    field("warmup_lr", c.warmup_lr, "unicl, tcl, one_cycle: learning rate of the first step", at_least(0));
    field("final_lr", c.final_lr, "learning rate that the last step approaches; constant has none", at_least(0));
    field(
        "reference_batch", c.reference_batch,
        "optimizer.lr, warmup_lr and final_lr are meant for this global batch and scale with it; 0: they stand as they "
        "are",
        at_least(0));
    field(
        "beta1", c.beta1,
        "one_cycle: in place of optimizer.betas' first; falls from the second of these to the first while the learning "
        "rate rises, and rises again");
  }
  void validate() const {
    if (!(total.value > 0)) throw FieldError("total", "a run needs at least one step, got " + total.text());
    if (warmup.unit == total.unit && warmup.value > total.value) {
      throw FieldError("warmup", warmup.text() + " is longer than schedule.total " + total.text());
    }
    if (shape == "constant" && final_lr != 0) {
      throw FieldError("final_lr", "has no meaning with shape: constant; remove it or use shape: cosine");
    }
    if ((shape == "constant" || shape == "cosine") && warmup_lr != 0) {
      throw FieldError("warmup_lr", "has no meaning with shape: " + shape + "; remove it or use shape: unicl");
    }
    if (!beta1) return;
    if (shape != "one_cycle") throw FieldError("beta1", "only shape: one_cycle moves it; remove it");
    for (const double beta : *beta1) {
      if (!(beta >= 0 && beta < 1)) throw FieldError("beta1", "each must be in [0, 1)");
    }
    if ((*beta1)[0] > (*beta1)[1]) throw FieldError("beta1", "the smaller one comes first");
  }
};

}  // namespace triptych

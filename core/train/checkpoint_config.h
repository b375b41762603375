// The `checkpoint` section: when state is saved and which of it stays.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/config.h"
#include "core/base/duration.h"

namespace triptych {

struct KeepBestConfig {
  std::string metric;
  std::string mode = "max";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("metric", c.metric, "name in metrics.jsonl of an evaluation, as eval/zero_shot/top1");
    field("mode", c.mode, "which is better: the largest or the smallest", one_of({"max", "min"}));
  }
  void validate() const {
    if (metric.rfind("eval/", 0) != 0 || metric.find('/', 5) == std::string::npos) {
      throw FieldError("metric", "got '" + metric + "', expected eval/NAME/METRIC of an entry of the eval section");
    }
  }
};

struct CheckpointConfig {
  Duration every = steps(1000);
  std::int64_t keep_last = 2;
  Duration keep_every = steps(0);
  std::optional<KeepBestConfig> keep_best;
  std::int64_t max_failures = 3;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("every", c.every, "how often state is saved; also at the end and when asked to stop. 0: only then");
    field("keep_last", c.keep_last, "newest checkpoints that stay", at_least(1));
    field("keep_every", c.keep_every, "checkpoints at multiples of this stay for ever; 0: none");
    field("keep_best", c.keep_best, "one checkpoint more stays: the best by an evaluation");
    field("max_failures", c.max_failures, "saves in a row that may fail (disk full) before the run ends with exit 7",
          at_least(1));
  }
};

}  // namespace triptych

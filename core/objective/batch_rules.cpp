// One overload for each objective that has a rule.
#include "core/objective/batch_rules.h"

#include <string>
#include <variant>

#include "core/base/errors.h"

namespace triptych {
namespace {

struct GlobalBatchRule {
  std::int64_t rows;

  void operator()(const auto& /*no rule*/) const {}
  void operator()(const TclConfig& config) const {
    if (config.queue >= rows) return;
    throw FieldError("objective.queue", std::to_string(config.queue) + " is less than train.global_batch " +
                                            std::to_string(rows) + ", all of which enters it in a step");
  }
};

struct MicroBatchRule {
  std::int64_t rows, ranks;

  void operator()(const auto& /*no rule*/) const {}
  /// A pair that does not match is made of two rows that meet in a micro-batch.
  void operator()(const TclConfig& config) const {
    const bool global = config.negatives == "global";
    if (rows * (global ? ranks : 1) > 1) return;
    throw ConfigError(
        "train.micro_batch: objective tcl finds its negatives among the rows of a micro-batch, which has " +
        std::to_string(rows) + "; use at least 2, or fewer ranks" +
        (ranks > 1 ? ", or objective.negatives: global" : ""));
  }
};

}  // namespace

void check_global_batch(const ObjectiveConfig& objective, std::int64_t global_batch) {
  std::visit(GlobalBatchRule{global_batch}, objective);
}

void check_micro_batch(const ObjectiveConfig& objective, std::int64_t micro_batch, std::int64_t ranks) {
  std::visit(MicroBatchRule{micro_batch, ranks}, objective);
}

}  // namespace triptych

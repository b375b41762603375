// Checks between sections of the configuration, and the arithmetic of batches and steps.
#include "core/train/train_config.h"

#include <set>
#include <string>

#include "core/base/errors.h"
#include "core/eval/evaluator_table.h"
#include "core/objective/batch_rules.h"
#include "core/train/lr_schedule.h"
#include "core/train/virtual_shards.h"

namespace triptych {

void TrainConfig::validate() const {
  std::set<std::string> names;
  for (std::size_t i = 0; i < eval.size(); ++i) {
    if (evaluator_name(eval[i]).find('/') != std::string::npos) {
      throw FieldError("eval." + std::to_string(i) + ".label",
                       "got '" + evaluator_name(eval[i]) + "'; '/' parts the names of metrics: eval/LABEL/METRIC");
    }
    if (!names.insert(evaluator_name(eval[i])).second) {
      throw FieldError("eval." + std::to_string(i) + ".label",
                       "a second entry is called '" + evaluator_name(eval[i]) + "'; give each entry its own label");
    }
  }
  if (checkpoint.keep_best) {
    const auto& metric = checkpoint.keep_best->metric;
    const auto name = metric.substr(5, metric.find('/', 5) - 5);
    if (!names.contains(name)) {
      throw FieldError("checkpoint.keep_best.metric",
                       "'" + metric + "' names evaluation '" + name + "', which is no entry of the eval section");
    }
  }
  if (train.micro_batch > train.global_batch) {
    throw FieldError("train.micro_batch", std::to_string(train.micro_batch) + " is larger than train.global_batch " +
                                              std::to_string(train.global_batch));
  }
  check_virtual_shards(*this);
  check_global_batch(objective, train.global_batch);
  if (schedule.final_lr > optimizer.lr) {
    throw FieldError("schedule.final_lr", "is larger than optimizer.lr, from which the schedule falls");
  }
  if (schedule.warmup_lr > optimizer.lr) {
    throw FieldError("schedule.warmup_lr", "is larger than optimizer.lr, to which the schedule rises");
  }
}

namespace {

std::string number(std::int64_t n) {
  return std::to_string(n);
}

}  // namespace

BatchPlan plan_batch(const TrainConfig& config, std::int64_t ranks) {
  const auto& train = config.train;
  const auto shards = config.distributed.virtual_shards;
  check_ranks_of_shards(shards, ranks);
  if (ranks > train.global_batch) {
    throw ConfigError("train.global_batch: " + number(ranks) + " ranks for a global batch of " +
                      number(train.global_batch) + " rows; start at most " + number(train.global_batch) +
                      " ranks or raise train.global_batch");
  }
  if (train.global_batch % ranks != 0) {
    const auto below = train.global_batch / ranks * ranks;
    throw ConfigError("train.global_batch: " + number(train.global_batch) + " does not divide by " + number(ranks) +
                      " ranks; use " + number(below) + " or " + number(below + ranks) + ", or another number of ranks");
  }
  BatchPlan plan;
  plan.local = train.global_batch / ranks;
  if (shards > 0) {
    if (train.global_batch % shards != 0) {
      throw ConfigError("train.global_batch: " + number(train.global_batch) + " does not divide by the " +
                        number(shards) + " shards of distributed.virtual_shards; use a multiple of " + number(shards));
    }
    plan.micro = train.global_batch / shards;
    return plan;
  }
  plan.micro = train.micro_batch == 0 ? plan.local : std::min(train.micro_batch, plan.local);
  if (plan.local % plan.micro != 0) {
    throw ConfigError("train.micro_batch: " + number(train.micro_batch) + " does not divide the " + number(plan.local) +
                      " rows of a rank (train.global_batch " + number(train.global_batch) + " over " + number(ranks) +
                      " ranks); use a divisor of " + number(plan.local));
  }
  return plan;
}

namespace {

/// Of TCL's release: the rest of the steps would be left out in silence.
void check_stairs(const ScheduleConfig& schedule, std::int64_t warmup) {
  const auto rest = warmup % kTclStair;
  if (schedule.shape != "tcl" || rest == 0) return;
  throw ConfigError("schedule.warmup: " + schedule.warmup.text() + " is " + number(warmup) +
                    " steps, but shape: tcl rises in stairs of " + number(kTclStair) + "; use {steps: " +
                    number(warmup - rest) + "} or {steps: " + number(warmup - rest + kTclStair) + "}");
}

}  // namespace

StepPlan plan_steps(const TrainConfig& config, int ranks, std::int64_t records_per_epoch) {
  const auto batch = plan_batch(config, ranks);
  check_micro_batch(config.objective, batch.micro, ranks);
  StepPlan plan;
  plan.local_batch = batch.local;
  plan.micro_batch = batch.micro;
  plan.geometry = {.global_batch = config.train.global_batch, .records_per_epoch = records_per_epoch};
  plan.total_steps = config.schedule.total.steps(plan.geometry);
  plan.warmup_steps = config.schedule.warmup.steps(plan.geometry);
  if (plan.warmup_steps > plan.total_steps) {
    throw ConfigError("schedule.warmup: " + config.schedule.warmup.text() + " is " + number(plan.warmup_steps) +
                      " steps, but schedule.total " + config.schedule.total.text() + " is only " +
                      number(plan.total_steps));
  }
  check_stairs(config.schedule, plan.warmup_steps);
  return plan;
}

}  // namespace triptych

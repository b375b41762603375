// The training step: zero, begin, accumulate, average, judge, clip, update, report.
#include "core/train/trainer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <cmath>
#include <cstdio>

#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "core/module/flip_bit.h"
#include "core/train/parameter_rules.h"

namespace triptych {
namespace {

std::vector<std::string> names_of(const std::vector<NamedTensor>& parameters) {
  std::vector<std::string> names;
  for (const auto& parameter : parameters) names.push_back(parameter.name);
  return names;
}

/// Freezes what the configuration says; what is left, with the rules of each. Frozen parameters and buffers come from
/// rank 0, as the others do. Collective.
std::pair<std::vector<NamedTensor>, std::vector<double>> parameters_to_train(const OptimizerConfig& config,
                                                                             Objective& objective, Collectives& comm) {
  const auto all = objective.module().parameters();
  const auto rules = freeze_parameters(config, all);
  std::vector<NamedTensor> trained;
  std::vector<double> lr_factors;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].tensor.requires_grad()) {
      at::Tensor frozen = all[i].tensor;
      comm.broadcast(frozen, 0);
      continue;
    }
    trained.push_back(all[i]);
    lr_factors.push_back(rules[i].lr_factor);
  }
  for (auto& [name, buffer] : objective.module().buffers()) comm.broadcast(buffer, 0);
  return {trained, lr_factors};
}

std::vector<at::Tensor> tensors_of(const std::vector<NamedTensor>& parameters) {
  std::vector<at::Tensor> tensors;
  for (const auto& parameter : parameters) tensors.push_back(parameter.tensor);
  return tensors;
}

/// Virtual shards take the place of what the objective asks for.
SyncForm form_of_sync(const TrainConfig& config, const Objective& objective) {
  return config.distributed.virtual_shards > 0 ? SyncForm::kShardTree : objective.sync_form();
}

/// Of [ranks, numbers], where every rank has computed the same. Equal bits, or both not a number.
void check_ranks_agree(const at::TensorAccessor<double, 2>& at) {
  for (std::int64_t rank = 1; rank < at.size(0); ++rank) {
    for (std::int64_t i = 0; i < at.size(1); ++i) {
      if (at[rank][i] == at[0][i] || (std::isnan(at[rank][i]) && std::isnan(at[0][i]))) continue;
      char text[160];
      std::snprintf(text, sizeof(text), "rank %d has the loss %a, rank 0 %a", static_cast<int>(rank), at[rank][i],
                    at[0][i]);
      throw ConfigError(std::string("distributed.virtual_shards: ranks compute different bits from the same rows: ") +
                        text + "; use machines (and GPUs) of one kind, train.deterministic: true on GPUs, or 0 shards");
    }
  }
}

/// "17, 4, 99, ... (128 in all)" of this rank's rows.
std::string sample_ids_text(const std::vector<Batch>& micro_batches) {
  constexpr int kShown = 16;
  std::string text;
  std::int64_t count = 0;
  for (const auto& batch : micro_batches) {
    for (std::int64_t row = 0; row < batch.sample_ids.numel(); ++row, ++count) {
      if (count >= kShown) continue;
      text += (count ? ", " : "") + std::to_string(batch.sample_ids[row].item<std::int64_t>());
    }
  }
  return count > kShown ? text + ", ... (" + std::to_string(count) + " in all)" : text;
}

}  // namespace

Computation computation_of(const LoopConfig& config) {
  Computation computation;
  if (config.precision == "fp64") computation.parameters = computation.compute = at::kDouble;
  if (config.precision == "bf16") computation.compute = at::kBFloat16;
  if (config.precision == "fp16") computation.compute = at::kHalf;
  if (config.attention == "plain") computation.attention = AttentionPath::kPlain;
  if (config.attention == "fused") computation.attention = AttentionPath::kFused;
  computation.recompute = config.activation_checkpointing;
  return computation;
}

Trainer::Trainer(const TrainConfig& config, const StepPlan& plan, Objective& objective, Collectives& comm)
    : Trainer(config, plan, objective, comm, parameters_to_train(config.optimizer, objective, comm)) {}

Trainer::Trainer(const TrainConfig& config, const StepPlan& plan, Objective& objective, Collectives& comm,
                 const Trained& trained)
    : config_(config),
      plan_(plan),
      objective_(objective),
      comm_(comm),
      trained_(trained.first),
      sync_(form_of_sync(config, objective), names_of(trained_), tensors_of(trained_), comm,
            {.shards = config.distributed.virtual_shards}),
      optimizer_(config.optimizer, trained_,
                 {.no_decay = objective.no_decay(), .apart = objective.clipped_apart(), .lr_factors = trained.second},
                 comm),
      schedule_(config.schedule, config.optimizer.lr, plan.warmup_steps, plan.total_steps, plan.geometry),
      guard_(config.train) {
  if (config.train.precision == "fp16") scaler_.emplace(config.train.init_loss_scale);
  if (sharded()) alone_.emplace(1);
  if (config.train.ema) ema_.emplace(*config.train.ema, trained_);
}

StepReport Trainer::step(std::vector<Batch> micro_batches) {
  const auto start = std::chrono::steady_clock::now();
  StepReport report;
  report.step = steps_done_ + 1;
  report.first_position = samples_seen_;
  report.lr = schedule_.at(steps_done_);
  Computation computation = computation_of(config_.train);
  if (scaler_) computation.loss_scale = scaler_->scale();
  StepScope scope(clock(), static_cast<std::uint64_t>(config_.run.seed), computation, comm_, &sync_);
  if (alone_) scope.use_shards(alone_->comm(0));
  sync_.zero_grad();
  sync_.before_forward();
  if (objective_.begin_step_changes_state()) before_change_();
  objective_.begin_step(scope);
  const auto forward_order = fault_point(FaultPoint::kForward, FaultServes::kNumbers);
  LossReport local = objective_.accumulate(micro_batches, scope);  // backward inside; averaging overlaps it
  if (forward_order) local.total = at::full_like(local.total, NAN);
  sync_.finish();
  if (fault_point(FaultPoint::kAllReduceExit, FaultServes::kNumbers)) flip_bit(trained_.front().tensor.grad());
  before_change_();

  add_losses(local, report);
  if (scaler_) optimizer_.scale_gradients(1 / scaler_->scale());
  report.grad_norm = optimizer_.gradient_norm();
  report.verdict = judge(report);
  if (report.verdict == Verdict::kTake) {
    optimizer_.clip(report.grad_norm);
    const auto order = fault_point(FaultPoint::kOptimizer, FaultServes::kNumbers);
    optimizer_.update(report.lr, schedule_.beta1_at(steps_done_));
    if (order) flip_bit(trained_.front().tensor);
    objective_.after_update(scope);
    if (ema_) ema_->update();
  }
  objective_.module().end_step(report.verdict == Verdict::kTake);
  ++steps_done_;
  samples_seen_ += plan_.geometry.global_batch;
  if (guard_.exhausted()) throw_not_finite(report, micro_batches);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

/// An overflow in fp16 is the scale's doing: it is lowered, and no guard counts the step.
Verdict Trainer::judge(const StepReport& report) {
  bool finite = true;
  for (const double loss : report.loss_by_rank) finite = finite && std::isfinite(loss);
  if (scaler_) {
    const bool overflow = scaler_->take(finite && std::isfinite(report.grad_norm)) == LossScaler::Outcome::kOverflow;
    if (overflow && finite) return Verdict::kOverflow;
  }
  return guard_.judge(finite, report.grad_norm);
}

StepClock Trainer::clock() const {
  return {.step = steps_done_,
          .samples_seen = samples_seen_,
          .epoch = static_cast<double>(samples_seen_) / static_cast<double>(plan_.geometry.records_per_epoch)};
}

/// The means over ranks, added in rank order: the same bits everywhere. With virtual shards every rank has the whole
/// batch's already. One collective for all terms.
void Trainer::add_losses(const LossReport& local, StepReport& report) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> numbers = {local.total.to(at::kDouble).reshape({})};
  for (const auto& term : local.terms) numbers.push_back(term.value.to(at::kDouble).reshape({}));
  const auto by_rank = comm_.all_gather(at::stack(numbers).unsqueeze(0)).cpu();
  const auto at = by_rank.accessor<double, 2>();
  if (sharded()) check_ranks_agree(at);
  const auto mean = [&](std::int64_t column) {
    if (sharded()) return at[0][column];
    double sum = 0;
    for (std::int64_t rank = 0; rank < at.size(0); ++rank) sum += at[rank][column];
    return sum / static_cast<double>(at.size(0));
  };
  report.loss = mean(0);
  for (std::int64_t rank = 0; rank < at.size(0); ++rank) report.loss_by_rank.push_back(at[rank][0]);
  for (std::size_t i = 0; i < local.terms.size(); ++i) {
    report.terms.emplace_back(local.terms[i].name, mean(static_cast<std::int64_t>(i) + 1));
  }
}

void Trainer::throw_not_finite(const StepReport& report, const std::vector<Batch>& micro_batches) {
  const auto ids = comm_.all_gather_text(sample_ids_text(micro_batches));
  std::string message = "step " + std::to_string(report.step) + ": " + std::to_string(guard_.skipped_in_a_row()) +
                        " steps in a row had no usable gradient (train.max_skipped_steps is " +
                        std::to_string(config_.train.max_skipped_steps) + "); gradient norm " +
                        std::to_string(report.grad_norm);
  for (const auto& [name, value] : report.terms)
    if (!std::isfinite(value)) message += "; " + name + " is not finite";
  if (report.verdict == Verdict::kSpike) {
    message += ", running mean " + std::to_string(guard_.mean_norm()) + ", train.skip_norm_above " +
               std::to_string(config_.train.skip_norm_above);
  }
  bool any = false;
  for (const double loss : report.loss_by_rank) any = any || !std::isfinite(loss);
  for (std::size_t rank = 0; rank < ids.size(); ++rank) {
    if (any && std::isfinite(report.loss_by_rank[rank])) continue;
    message += "; rank " + std::to_string(rank) + ": loss " + std::to_string(report.loss_by_rank[rank]) + ", samples " +
               ids[rank];
  }
  throw NotFiniteError(message +
                       ". Lower optimizer.lr or set optimizer.clip_norm (to go on from the last "
                       "checkpoint, add --allow-change optimizer), or look at these samples");
}

void Trainer::check_weights() const {
  const c10::NoGradGuard no_grad;
  for (const auto& parameter : trained_) {
    const auto finite = [&](at::ScalarType type) { return std::isfinite(parameter.tensor.sum(type).item<double>()); };
    // The sum in its own type is quicker, and may overflow although no weight has.
    if (finite(parameter.tensor.scalar_type()) || finite(at::kDouble)) continue;
    throw NotFiniteError("step " + std::to_string(steps_done_) + ": the weights of " + parameter.name +
                         " are not finite, and are not saved. Lower optimizer.lr or set optimizer.clip_norm; to go on "
                         "from the last checkpoint, add --allow-change optimizer");
  }
}

Trainer::WholeState::WholeState(Trainer& trainer, Where where) : trainer_(trainer) {
  where == Where::kEveryRank ? trainer_.optimizer_.hold_all() : trainer_.optimizer_.collect();
}

Trainer::WholeState::~WholeState() {
  trainer_.optimizer_.keep_own();
}

void Trainer::visit_replicas(StateVisitor& visitor) {
  objective_.visit_state(visitor);
  if (!optimizer_.sharded()) optimizer_.visit_state(visitor);
  visit_counters(visitor);
}

void Trainer::visit_state(StateVisitor& visitor) {
  objective_.visit_state(visitor);
  optimizer_.visit_state(visitor);
  visit_counters(visitor);
}

void Trainer::visit_counters(StateVisitor& visitor) {
  guard_.visit_state(visitor);
  if (scaler_) scaler_->visit_state(visitor);
  if (ema_) ema_->visit_state(visitor);
  visitor.integer("trainer.steps_done", steps_done_);
  visitor.integer("trainer.samples_seen", samples_seen_);
}

}  // namespace triptych

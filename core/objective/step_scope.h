// What the trainer lends to an objective for one step.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/base/random_key.h"
#include "core/module/autocast.h"
#include "core/module/forward_scope.h"
#include "core/objective/step_parts.h"
#include "distributed/collectives.h"
#include "distributed/gradient_sync.h"

namespace triptych {

struct StepClock {
  std::int64_t step = 0;          ///< updates (or skips) before this one
  std::int64_t samples_seen = 0;  ///< position of the first row of this global batch
  double epoch = 0;               ///< samples_seen / E
};

enum class Last { kNo, kYes };

/// How a step is computed.
struct Computation {
  at::ScalarType parameters = at::kFloat;
  at::ScalarType compute = at::kFloat;  ///< what autocast runs matrix products in; the same as parameters: off
  AttentionPath attention = AttentionPath::kRule;
  bool recompute = false;        ///< activation checkpointing
  std::int64_t shape_ranks = 1;  ///< on the meta device: what ranks share is computed as for so many
  double loss_scale = 1;         ///< keeps small gradients above fp16's smallest number; the trainer divides by it

  /// Of a loss's own matrix products; its sums and logits are in the parameters' type. fp16 is too narrow for them.
  at::ScalarType products() const { return compute == at::kHalf ? parameters : compute; }
};

class StepScope {
 public:
  /// `sync` may be null (evaluation of gradients without averaging, in tests).
  StepScope(StepClock clock, std::uint64_t seed, Computation computation, Collectives& comm, GradientSync* sync);
  const StepClock& clock() const { return clock_; }
  Collectives& comm() { return comm_; }
  at::ScalarType products() const { return computation_.products(); }
  at::ScalarType compute() const { return computation_.compute; }
  /// A generator keyed by (seed, step, purpose, first position of the micro-batch): the same bits for any number of
  /// ranks, and again when a forward is replayed.
  at::Generator draws(Purpose purpose, std::int64_t first_position, at::Device device) const;
  AutocastScope autocast(at::Device device) const {
    return AutocastScope(device, computation_.parameters, computation_.compute);
  }
  /// What the towers get for a micro-batch; `purpose`: of their draws. Valid as long as this scope.
  ForwardScope forward(Purpose purpose, std::int64_t first_position, at::Device device);
  /// The gradient to start from at a loss: `share` of it, times the loss scale.
  at::Tensor seed_gradient(const at::Tensor& loss, double share = 1) const;
  /// The only door to autograd. Roots may be leaves. With Last::kYes the gradients are synchronised while backward runs
  /// (reducer form); exactly one call of a step is the last.
  void backward(const std::vector<at::Tensor>& roots, const std::vector<at::Tensor>& gradients, Last last);
  /// With virtual shards: every micro-batch is a shard of the global batch, and a loss in which rows meet is computed
  /// by every rank alike, of all ranks' rows, as if it were `alone` (a group of one rank that outlives the scope).
  void use_shards(Collectives& alone) { alone_ = &alone; }
  bool sharded() const { return alone_ != nullptr; }
  /// The ranks that a loss meets: all, or with virtual shards the one that holds all their rows.
  Collectives& loss_comm() { return sharded() ? *alone_ : comm_; }
  /// Rows of this rank, [b, ...] -> what a loss is given: the same, or with virtual shards all ranks', [B, ...],
  /// without graph. Collective.
  at::Tensor loss_rows(const at::Tensor& own);
  /// Where those of this rank begin among them, if it has `own_rows`.
  std::int64_t first_loss_row(std::int64_t own_rows) const { return sharded() ? comm_.rank() * own_rows : 0; }
  /// What backward left belongs to the micro-batch that ends here: called after each where losses can be sharded.
  void end_shard();
  /// What backward left comes from the loss alone, which every rank has computed alike.
  void end_common();
  /// Counts what follows for the part `name` of the step, as long as the result lives. Does nothing unless somebody
  /// measures: const auto timed = scope.part("student");
  StepParts::Timed part(const char* name) { return {parts_, name}; }
  /// Measures this step's parts; `parts` outlives the scope.
  void time_parts(StepParts* parts) { parts_ = parts; }

 private:
  StepClock clock_;
  std::uint64_t seed_;
  Computation computation_;
  Collectives& comm_;
  GradientSync* sync_;
  Collectives* alone_ = nullptr;  ///< with virtual shards
  bool synchronised_ = false;     ///< the last backward has begun
  StepParts* parts_ = nullptr;
};

}  // namespace triptych

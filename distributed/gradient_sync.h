// The only place that averages gradients over ranks.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "distributed/collectives.h"

namespace triptych {

enum class SyncForm {
  kReducer,    ///< c10d::Reducer: buckets are reduced while backward runs. Every parameter must get its gradient in the
               ///< last backward of a step, exactly once
  kFlat,       ///< fixed buckets, reduced after the last backward. For everything else
  kShardTree,  ///< summed over fixed shards of the global batch in a fixed tree, after the last backward: the same bits
               ///< on any number of ranks (shard_tree.h)
};

struct GradientSyncOptions {
  std::int64_t first_bucket_bytes = 1 << 20;
  std::int64_t bucket_bytes = 25 << 20;
  std::int64_t shards = 0;  ///< of a step, over all ranks; kShardTree alone has them
};

/// Buckets are fixed at construction (reverse registration order) and never rebuilt: exact resume on 3 or more ranks
/// depends on it. Both forms of buckets give the same bits.
class GradientSync {
 public:
  /// Parameters that require gradients, in registration order, the same on every rank (verified: throws ConfigError
  /// naming the first difference). Broadcasts them from rank 0.
  GradientSync(SyncForm form, std::vector<std::string> names, std::vector<at::Tensor> parameters, Collectives& comm,
               GradientSyncOptions options = {});
  ~GradientSync();

  void zero_grad();       ///< drops all gradients
  void before_forward();  ///< once at the start of a step
  /// Before the last backward of a step: gradients that it produces are reduced (reducer form: while it runs).
  void before_last_backward(const std::vector<at::Tensor>& roots);
  /// What the parameters hold is the gradient of this rank's next shard. Nothing but in kShardTree.
  void end_shard();
  /// What they hold was computed by every rank alike, of the whole batch. Nothing but in kShardTree.
  void end_common();
  /// After the last backward: waits, so that every gradient is the mean over ranks, in kShardTree the sum over shards.
  /// Throws Error naming every parameter that got no gradient (agreed: checked on every rank before anything waits).
  void finish();
  SyncForm form() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych

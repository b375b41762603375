// AdamW as one fused kernel call per group, and the gradient norm that guards and clips it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/module/module.h"
#include "core/train/optimizer_config.h"
#include "core/train/optimizer_shards.h"

namespace triptych {

/// Decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101):
///   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   t <- t + 1
///   p <- p (1 - lr decay),    p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
/// Decay acts on the parameters that `decays` names, on no other.
class AdamW {
 public:
  /// What the rule alone does not say.
  struct Exceptions {
    std::vector<std::string> no_decay = {};  ///< full names, exempt although the rule would decay them
    std::vector<std::string> apart = {};     ///< full names, clipped by their own norm
    std::vector<double> lr_factors = {};     ///< of each parameter, or none
  };
  /// `parameters` in registration order.
  AdamW(const OptimizerConfig& config, std::vector<NamedTensor> parameters, const Exceptions& exceptions,
        Collectives& comm);

  /// L2 norm over all gradients, summed in double in a fixed order: the same bits on every rank that holds the same
  /// gradients, whatever its number of threads. Not finite if any gradient is not.
  double gradient_norm() const;
  /// Scales all gradients by min(1, clip_norm / (norm + 1e-6)), where some are clipped apart each part by its own norm;
  /// nothing with clip_norm 0. norm: gradient_norm().
  void clip(double norm);
  void scale_gradients(double factor);
  /// beta1: in place of the configured one. Collective with optimizer.shard.
  void update(double lr, std::optional<double> beta1 = {});
  /// Moments by parameter name, and the number of updates. With optimizer.shard only between hold_all or collect and
  /// keep_own.
  void visit_state(StateVisitor& visitor);
  void hold_all();                    ///< room for the moments of every parameter, to be loaded
  void collect();                     ///< the moments of every parameter on rank 0. Collective
  void keep_own();                    ///< drops the moments that are other ranks'
  std::int64_t moment_bytes() const;  ///< of this rank
  bool sharded() const { return shards_.sharded(); }

  /// OpenCLIP's rule: matrices and larger are decayed; vectors, scalars, biases, norms and the logit scale are not.
  static bool decays(const std::string& name, const at::Tensor& parameter);
  std::vector<std::string> decayed() const;  ///< names, in order

 private:
  /// What one kernel call updates.
  struct Group {
    bool decays = false;
    double lr_factor = 1;
    std::vector<std::string> names;
    std::vector<std::size_t> indices;                    ///< among all parameters
    at::Tensor step;                                     ///< number of the update: a scalar that all of them share
    std::vector<at::Tensor> parameters, means, squares;  ///< moments may be undefined: another rank's
  };
  Group& group_of(bool decays, double lr_factor);
  using Indices = std::vector<std::size_t>;  // among all parameters
  double norm_of(const Indices& which) const;
  void scale(const Indices& which, double factor);
  void each_moment(const std::function<void(at::Tensor& moment, const Group& group, std::size_t i)>& use);

  OptimizerConfig config_;
  std::vector<NamedTensor> parameters_;
  OptimizerShards shards_;
  std::vector<Group> groups_;
  Indices all_, apart_, together_;  // the last two: all in two parts
  std::int64_t updates_ = 0;
};

}  // namespace triptych

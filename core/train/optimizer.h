// AdamW as one fused kernel call per group, and the gradient norm that guards and clips it.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "core/module/module.h"
#include "core/train/optimizer_config.h"

namespace triptych {

/// Decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101):
///   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   t <- t + 1
///   p <- p (1 - lr decay),    p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
/// Decay acts on the parameters that `decays` names, on no other.
class AdamW {
 public:
  /// `parameters` in registration order; those in `no_decay` (full names) are exempt although the rule would decay
  /// them. lr_factors: of each parameter, or none.
  AdamW(const OptimizerConfig& config, std::vector<NamedTensor> parameters, const std::vector<std::string>& no_decay,
        const std::vector<double>& lr_factors = {});

  /// L2 norm over all gradients, summed in double in a fixed order: the same bits on every rank that holds the same
  /// gradients, whatever its number of threads. Not finite if any gradient is not.
  double gradient_norm() const;
  /// Scales all gradients by min(1, clip_norm / (norm + 1e-6)); nothing with clip_norm 0.
  void clip(double norm);
  void scale_gradients(double factor);
  void update(double lr);
  /// Moments by parameter name, and the number of updates.
  void visit_state(StateVisitor& visitor);

  /// OpenCLIP's rule: matrices and larger are decayed; vectors, scalars, biases, norms and the logit scale are not.
  static bool decays(const std::string& name, const at::Tensor& parameter);
  std::vector<std::string> decayed() const;  ///< names, in order

 private:
  /// What one kernel call updates.
  struct Group {
    bool decays = false;
    double lr_factor = 1;
    std::vector<std::string> names;
    std::vector<at::Tensor> parameters, means, squares, steps;
  };
  Group& group_of(bool decays, double lr_factor);

  OptimizerConfig config_;
  std::vector<NamedTensor> parameters_;
  std::vector<Group> groups_;
  std::int64_t updates_ = 0;
};

}  // namespace triptych

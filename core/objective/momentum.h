// A momentum encoder (He et al., MoCo, CVPR 2020, arXiv:1911.05722): the moving average of another module's weights.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "core/module/module.h"

namespace triptych {

class Momentum {
 public:
  /// `average` becomes a copy of `model` and takes no gradient. Both have the same parameters and outlive this.
  Momentum(Module& model, Module& average);
  /// average <- m average + (1 - m) model: one fused call, without graph.
  void update(double m);

 private:
  std::vector<at::Tensor> model_, average_;
};

}  // namespace triptych

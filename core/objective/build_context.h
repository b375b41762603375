// Where an objective's model is built, and with what it starts.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "core/model/model_config.h"
#include "core/module/forward_scope.h"
#include "core/module/initializer.h"
#include "core/module/module.h"

namespace triptych {

struct BuildContext {
  std::uint64_t seed = 1;
  at::Device device = at::kCPU;  ///< meta: shapes only, to plan before memory is taken
  at::ScalarType parameters = at::kFloat;
  AttentionPath attention = AttentionPath::kRule;
  bool initial_weights = true;  ///< read model.init_from; false where a checkpoint replaces them

  /// What the towers get in evaluation.
  ForwardScope evaluation() const {
    ForwardScope scope;
    scope.attention = attention;
    return scope;
  }
  Initializer initializer(const std::string& prefix = "") const {
    return Initializer(seed, prefix, device.is_meta() ? at::Device(at::kMeta) : at::Device(at::kCPU));
  }
  /// Loads model.init_from and moves the model to its device. Throws ConfigError when the file does not fit.
  void start(Module& model, const ModelConfig& config) const;
};

}  // namespace triptych

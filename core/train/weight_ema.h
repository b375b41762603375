// A moving average of the weights, which evaluations use instead of the weights themselves.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/module/module.h"
#include "core/train/loop_config.h"

namespace triptych {

/// After update n (from 1): average <- d average + (1 - d) weights, d = min(decay, (1 + n) / (10 + n)), so that the
/// first weights are soon forgotten (as in TensorFlow's ExponentialMovingAverage with num_updates).
class WeightEma {
 public:
  static constexpr const char* kPrefix = "ema.";  ///< of the averages' names in a checkpoint's state

  WeightEma(const EmaConfig& config, std::vector<NamedTensor> weights);
  void update();
  /// Averages by name, and the number of updates.
  void visit_state(StateVisitor& visitor);

  /// While it lives the model computes with the averages; afterwards the weights are what they were, bit for bit.
  class InUse {
   public:
    explicit InUse(WeightEma* ema);  ///< null: nothing
    ~InUse();
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;

   private:
    WeightEma* ema_;
  };

 private:
  void exchange();

  double decay_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> weights_, averages_;
  std::int64_t updates_ = 0;
};

}  // namespace triptych

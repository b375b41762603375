// What the trainer lends to an objective for one step.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/base/random_key.h"
#include "core/module/autocast.h"
#include "distributed/collectives.h"
#include "distributed/gradient_sync.h"

namespace triptych {

struct StepClock {
  std::int64_t step = 0;          ///< updates (or skips) before this one
  std::int64_t samples_seen = 0;  ///< position of the first row of this global batch
  double epoch = 0;               ///< samples_seen / E
};

enum class Last { kNo, kYes };

/// How numbers are computed: the dtype of parameters, and the dtype that autocast runs matrix products in (the same =
/// off).
struct Precision {
  at::ScalarType parameters = at::kFloat;
  at::ScalarType compute = at::kFloat;
};

class StepScope {
 public:
  /// `sync` may be null (evaluation of gradients without averaging, in tests).
  StepScope(StepClock clock, std::uint64_t seed, Precision precision, Collectives& comm, GradientSync* sync);
  const StepClock& clock() const { return clock_; }
  Collectives& comm() { return comm_; }
  at::ScalarType compute() const { return precision_.compute; }  ///< of matrix products
  /// A generator keyed by (seed, step, purpose, first position of the micro-batch): the same bits for any number of
  /// ranks, and again when a forward is replayed.
  at::Generator draws(Purpose purpose, std::int64_t first_position, at::Device device) const;
  AutocastScope autocast(at::Device device) const {
    return AutocastScope(device, precision_.parameters, precision_.compute);
  }
  /// The only door to autograd. Roots may be leaves. With Last::kYes the gradients are synchronised while backward runs
  /// (reducer form); exactly one call of a step is the last.
  void backward(const std::vector<at::Tensor>& roots, const std::vector<at::Tensor>& gradients, Last last);

 private:
  StepClock clock_;
  std::uint64_t seed_;
  Precision precision_;
  Collectives& comm_;
  GradientSync* sync_;
  bool synchronised_ = false;  ///< the last backward has begun
};

}  // namespace triptych

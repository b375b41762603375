// The one place that divides by a count which ranks do not share.
#include "losses/global_mean.h"

#include <ATen/ATen.h>

namespace triptych {

at::Tensor global_mean(const at::Tensor& local_sum, std::int64_t count, Collectives& comm, MeanOver over) {
  const std::int64_t all = comm.sum(count);  // both forms: collectives are unconditional
  const double divisor = over == MeanOver::kRank ? static_cast<double>(count) : static_cast<double>(all) / comm.size();
  return divisor == 0 ? local_sum * 0 : local_sum / divisor;
}

}  // namespace triptych

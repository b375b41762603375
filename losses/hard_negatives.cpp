// Every number stays finite until forbidden columns become -inf, so the largest is an allowed one if there is any.
#include "losses/hard_negatives.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <limits>

#include "core/types/batch.h"

namespace triptych {
namespace {

struct FloatRange {
  double smallest, below_one, lowest;
};

template <class T>
FloatRange range_of() {
  using Limits = std::numeric_limits<T>;
  return {Limits::min(), 1 - Limits::epsilon() / 2, Limits::lowest()};
}

bool labels_fit(const at::Tensor& labels, std::int64_t rows) {
  return labels.scalar_type() == at::kLong && labels.dim() == 1 && labels.size(0) == rows;
}

}  // namespace

HardNegatives hard_negatives(const at::Tensor& score_bn, const at::Tensor& forbidden_bn, const at::Tensor& uniform_bn) {
  const c10::NoGradGuard no_grad;
  TORCH_CHECK(score_bn.dim() == 2 && score_bn.size(1) > 0 && score_bn.is_floating_point(),
              "scores must be [b, n > 0], got ", score_bn.scalar_type(), " ", score_bn.sizes());
  TORCH_CHECK(forbidden_bn.scalar_type() == at::kBool && forbidden_bn.sizes() == score_bn.sizes(),
              "forbidden pairs must be bool ", score_bn.sizes(), ", got ", forbidden_bn.scalar_type(), " ",
              forbidden_bn.sizes());
  TORCH_CHECK((uniform_bn.scalar_type() == at::kFloat || uniform_bn.scalar_type() == at::kDouble) &&
                  uniform_bn.sizes() == score_bn.sizes(),
              "uniform draws must be fp32 or fp64 ", score_bn.sizes(), ", got ", uniform_bn.scalar_type(), " ",
              uniform_bn.sizes());
  const bool wide = score_bn.scalar_type() == at::kDouble || uniform_bn.scalar_type() == at::kDouble;
  const auto type = wide ? at::kDouble : at::kFloat;
  const FloatRange limits = wide ? range_of<double>() : range_of<float>();
  at::Tensor score = at::nan_to_num(score_bn.to(type), limits.lowest, -limits.lowest, limits.lowest);
  score = score.masked_fill(forbidden_bn, limits.lowest);
  // The largest becomes 0: beside a large common part the draws would be rounded away.
  score = score.sub_(score.amax({1}, true)).clamp_min_(limits.lowest / 2);
  const at::Tensor gumbel = uniform_bn.to(type).clamp(limits.smallest, limits.below_one).log_().neg_().log_().neg_();
  score = score.add_(gumbel).masked_fill_(forbidden_bn, -std::numeric_limits<double>::infinity());
  const at::Tensor valid = forbidden_bn.all(1).logical_not();
  return {score.argmax(1).mul_(valid), valid};
}

at::Tensor forbidden_pairs(std::int64_t b, std::int64_t n, std::int64_t own, const at::Tensor& label_b,
                           const at::Tensor& label_n, at::Device device) {
  TORCH_CHECK(b >= 0 && own >= 0 && own + b <= n, "own pairs of ", b, " rows from column ", own, " on are not within ",
              n, " columns");
  TORCH_CHECK(label_b.defined() == label_n.defined(), "labels must be given for rows and columns, or for neither");
  at::Tensor forbidden = at::zeros({b, n}, at::TensorOptions(device).dtype(at::kBool));
  if (label_b.defined()) {
    TORCH_CHECK(labels_fit(label_b, b) && labels_fit(label_n, n), "labels must be int64 [", b, "] and [", n, "], got ",
                label_b.scalar_type(), " ", label_b.sizes(), " and ", label_n.scalar_type(), " ", label_n.sizes());
    const at::Tensor rows = label_b.to(device).unsqueeze(1), columns = label_n.to(device).unsqueeze(0);
    forbidden = (rows == columns).logical_and_(rows != kNoLabel);
  }
  forbidden.narrow(1, own, b).diagonal().fill_(true);
  return forbidden;
}

}  // namespace triptych

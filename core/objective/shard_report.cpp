// One gather for all numbers.
#include "core/objective/shard_report.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace triptych {

LossReport sum_of_shards(const std::vector<LossReport>& own, Collectives& comm) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> rows;
  for (const auto& shard : own) {
    std::vector<at::Tensor> numbers{shard.total.to(at::kDouble).reshape({})};
    for (const auto& term : shard.terms) numbers.push_back(term.value.to(at::kDouble).reshape({}));
    rows.push_back(at::stack(numbers));
  }
  const at::Tensor all = comm.all_gather(at::stack(rows));  // [V, 1 + terms]
  at::Tensor sum = all[0].clone();
  for (std::int64_t shard = 1; shard < all.size(0); ++shard) sum.add_(all[shard]);
  LossReport report{sum[0], {}};
  for (std::size_t i = 0; i < own.front().terms.size(); ++i)
    report.terms.push_back({own.front().terms[i].name, sum[static_cast<std::int64_t>(i) + 1]});
  return report;
}

}  // namespace triptych

// Counts by class and what they say.
#include "core/eval/top_counts.h"

#include <ATen/ATen.h>

namespace triptych {

at::Tensor place_of_own(const at::Tensor& scores_nC, const at::Tensor& own_n) {
  const auto own_n1 = own_n.to(scores_nC.device()).unsqueeze(1);
  const auto score_n1 = scores_nC.gather(1, own_n1);
  const auto columns_C = at::arange(scores_nC.size(1), own_n1.options());
  // Counted from behind: a comparison with NaN is false, so NaN never moves a row forward.
  const auto behind = scores_nC.lt(score_n1).logical_or_(scores_nC.eq(score_n1).logical_and_(columns_C.ge(own_n1)));
  return scores_nC.size(1) - behind.sum(1);
}

at::Tensor place_of_best(const at::Tensor& scores_nC, const at::Tensor& own_nC) {
  const auto others_nC = scores_nC.masked_fill(own_nC, -INFINITY);
  const auto own_scores_nC = scores_nC.masked_fill(own_nC.logical_not(), -INFINITY);
  const auto best_n1 = own_scores_nC.amax(1, /*keepdim=*/true);
  // The first of the best own columns decides ties with others.
  const auto columns_C = at::arange(scores_nC.size(1), own_nC.options().dtype(at::kLong));
  const auto first_best_n1 =
      columns_C.masked_fill(own_scores_nC.eq(best_n1).logical_not(), scores_nC.size(1)).amin(1, /*keepdim=*/true);
  const auto before =
      others_nC.gt(best_n1).logical_or_(others_nC.eq(best_n1).logical_and_(columns_C.lt(first_best_n1)));
  const auto place_n = before.logical_and_(own_nC.logical_not()).sum(1);
  // A best score that is not a finite number (or a row that holds NaN) never counts as found.
  const auto broken_n =
      best_n1.squeeze(1).isfinite().logical_and_(scores_nC.isnan().any(1).logical_not()).logical_not();
  return place_n.masked_fill(broken_n, scores_nC.size(1));
}

TopCounts::TopCounts(std::int64_t classes)
    : rows_C_(at::zeros({classes}, at::kLong)),
      top1_C_(at::zeros({classes}, at::kLong)),
      top5_C_(at::zeros({classes}, at::kLong)) {}

void TopCounts::add(const at::Tensor& scores_nC, const at::Tensor& own_n) {
  const auto place_n = place_of_own(scores_nC, own_n).cpu();
  const auto own = own_n.cpu();
  rows_C_.index_add_(0, own, at::ones_like(own));
  top1_C_.index_add_(0, own, place_n.lt(1).to(at::kLong));
  top5_C_.index_add_(0, own, place_n.lt(5).to(at::kLong));
}

std::int64_t TopCounts::reduce(Collectives& comm) {
  auto all = at::stack({rows_C_, top1_C_, top5_C_});
  comm.all_reduce_sum(all);
  rows_C_ = all[0];
  top1_C_ = all[1];
  top5_C_ = all[2];
  return rows_C_.sum().item<std::int64_t>();
}

std::vector<Metric> TopCounts::metrics() const {
  const auto rows = static_cast<double>(rows_C_.sum().item<std::int64_t>());
  const auto classes = static_cast<double>(rows_C_.numel());
  const auto seen = rows_C_.gt(0);
  const auto share_right = top1_C_.masked_select(seen).to(at::kDouble) / rows_C_.masked_select(seen).to(at::kDouble);
  return {
      {"top1", static_cast<double>(top1_C_.sum().item<std::int64_t>()) / rows},
      {"top5", static_cast<double>(top5_C_.sum().item<std::int64_t>()) / rows},
      {"per_class_mean", share_right.mean().item<double>()},
      {"samples", rows},
      {"classes", classes},
      {"chance", 1 / classes},
      {"largest_class", static_cast<double>(rows_C_.max().item<std::int64_t>()) / rows},
  };
}

std::vector<std::string> TopCounts::names(std::initializer_list<std::string> more) {
  std::vector<std::string> names = {"top1", "top5", "per_class_mean", "samples", "classes", "chance", "largest_class"};
  names.insert(names.end(), more);
  return names;
}

}  // namespace triptych

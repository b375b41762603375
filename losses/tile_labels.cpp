// Classes numbered by sorting all labels of all ranks.
#include "losses/tile_labels.h"

#include <ATen/ATen.h>

namespace triptych {

LabelColumns LabelColumns::narrow(std::int64_t begin, std::int64_t length) const {
  const auto part = [&](const at::Tensor& t) { return t.defined() ? t.narrow(0, begin, length) : t; };
  return {part(first), part(second), part(share)};
}

LabelColumns LabelColumns::repeat(std::int64_t n) const {
  const auto repeated = [&](const at::Tensor& t) { return t.defined() && n > 1 ? t.repeat_interleave(n) : t; };
  return {repeated(first), repeated(second), repeated(share)};
}

GatheredLabels gather_labels(const RowLabels& labels, at::ScalarType dtype, Collectives& comm) {
  const at::Tensor ids_B = gather_class_ids(labels.labels_b, comm);
  const bool mixed = labels.weight_b.defined();
  at::Tensor all = ids_B, share_B = at::ones({ids_B.size(0)}, ids_B.options().dtype(at::kDouble)), shares = share_B;
  if (mixed) {
    const at::Tensor other_B = comm.all_gather(labels.other_b);
    TORCH_CHECK(ids_B.ge(0).logical_and_(other_B.ge(0)).all().item<bool>(), "rows without label cannot be mixed");
    share_B = comm.all_gather(labels.weight_b.to(at::kDouble));
    all = at::cat({ids_B, other_B});
    shares = at::cat({share_B, 1 - share_B});
  }
  const auto [classes, number, counts] = at::_unique2(all, /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor mass_c = at::zeros({classes.size(0)}, shares.options()).index_add_(0, number, shares);
  const at::Tensor mass = mass_c.index_select(0, number) * shares;  // of each label of each row
  const at::Tensor numbers = number.to(at::kInt);
  const std::int64_t rows = ids_B.size(0);
  if (!mixed) return {{numbers, {}, {}}, mass};
  return {{numbers.narrow(0, 0, rows), numbers.narrow(0, rows, rows), share_B.to(dtype)},
          mass.narrow(0, 0, rows) + mass.narrow(0, rows, rows)};
}

GatheredLabels distinct_labels(std::int64_t rows, at::Device device) {
  return {{at::arange(rows, at::device(device).dtype(at::kInt)), {}, {}},
          at::ones({rows}, at::device(device).dtype(at::kDouble))};
}

}  // namespace triptych

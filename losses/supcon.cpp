// SupCon of a rank's views against the gathered batch.
#include "losses/supcon.h"

#include <ATen/ATen.h>

#include <limits>

#include "distributed/gather_with_grad.h"
#include "losses/class_ids.h"

namespace triptych {

LossOutput supcon_loss(const at::Tensor& view_bvd, const at::Tensor& labels_b, double temperature, Collectives& comm) {
  TORCH_CHECK(view_bvd.dim() == 3 && view_bvd.size(1) >= 2 && view_bvd.size(0) == labels_b.size(0),
              "supcon needs embeddings [b, views >= 2, d] and labels [b], got ", view_bvd.sizes(), " and ",
              labels_b.sizes());
  const std::int64_t views = view_bvd.size(1);
  const at::Tensor all_nd = all_gather_with_grad(view_bvd, comm).flatten(0, 1);  // n = V B
  const at::Tensor ids_n = gather_class_ids(labels_b, comm).repeat_interleave(views);
  const at::Tensor own_m =
      local_rows(at::arange(all_nd.size(0), labels_b.options()), comm);  // m = V b rows of this rank
  const at::Tensor self_mn = own_m.unsqueeze(1) == at::arange(all_nd.size(0), labels_b.options()).unsqueeze(0);
  const at::Tensor positive_mn =
      (ids_n.index_select(0, own_m).unsqueeze(1) == ids_n.unsqueeze(0)).logical_and_(self_mn.logical_not());

  const at::Tensor logits_mn = at::mm(view_bvd.flatten(0, 1) / temperature, all_nd.t());
  const at::Tensor others_mn = logits_mn.masked_fill(self_mn, -std::numeric_limits<double>::infinity());
  const at::Tensor positive_m = at::where(positive_mn, logits_mn, at::zeros({}, logits_mn.options())).sum(1);
  const at::Tensor total = (at::logsumexp(others_mn, {1}) - positive_m / positive_mn.sum(1)).mean();
  return {total, {{"supcon", total.detach()}}};
}

}  // namespace triptych

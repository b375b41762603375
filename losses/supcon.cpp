// SupCon of a rank's views against the gathered batch, by tiles.
#include "losses/supcon.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "losses/tile_contrast.h"

namespace triptych {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What forward leaves to backward.
struct ViewState : torch::CustomClassHolder {
  PairSoftmax pairs;          ///< own views against all
  at::Tensor mass_m, mass_n;  ///< |P(i)| of own and of all views, fp64
  SoftmaxStats own, all;
};

struct TiledViews : torch::autograd::Function<TiledViews> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& view_md,
                            const c10::intrusive_ptr<ViewState>& state, Collectives* comm) {
    const auto& stats = state->own = state->pairs.query_stats();
    state->all = gather_stats(stats, *comm);
    context->saved_data["state"] = c10::IValue::make_capsule(state);
    return (stats.lse(state->pairs.scale) - stats.positive * state->pairs.scale / state->mass_m)
        .mean()
        .to(view_md.scalar_type());
  }
  // A view is a query of its own softmax and a key in all others': both parts are its own rank's to complete.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto holder = context->saved_data["state"].toCapsule();
    const auto& state = static_cast<const ViewState&>(*holder);
    const double factor = 1.0 / static_cast<double>(state.mass_m.size(0));
    const auto side = [&](const SoftmaxStats& stats, const at::Tensor& mass) {
      return SideGradient{stats.most, stats.log_sum, factor, (factor / mass).to(stats.most.scalar_type())};
    };
    const auto views = pair_gradients(state.pairs, side(state.own, state.mass_m), side(state.all, state.mass_n),
                                      /*with_keys=*/false);
    return {views.query_nd * gradients[0], {}, {}};
  }
};

}  // namespace

LossOutput supcon_loss(const at::Tensor& view_bvd, const at::Tensor& labels_b, double temperature, Collectives& comm,
                       ProductType products) {
  TORCH_CHECK(view_bvd.dim() == 3 && view_bvd.size(1) >= 2 && view_bvd.size(0) == labels_b.size(0),
              "supcon needs embeddings [b, views >= 2, d] and labels [b], got ", view_bvd.sizes(), " and ",
              labels_b.sizes());
  const std::int64_t views = view_bvd.size(1), m = view_bvd.size(0) * views, first = comm.rank() * m;
  const at::Tensor own_md = view_bvd.flatten(0, 1);
  const at::Tensor rows_md = rows_for_products(own_md, products);
  const auto gathered = gather_labels(labels_b, own_md.scalar_type(), comm);
  const auto labels_n = gathered.labels_B.repeat(views);
  auto state = c10::make_intrusive<ViewState>();
  state->mass_n = gathered.mass_B.repeat_interleave(views) * views - 1;  // all views of the class but itself
  state->mass_m = state->mass_n.narrow(0, first, m);
  state->pairs = {{rows_md, labels_n.narrow(first, m)}, {comm.all_gather(rows_md), labels_n}, 1 / temperature, first};
  const at::Tensor total = TiledViews::apply(own_md, state, &comm);
  return {total, {{"supcon", total.detach()}}};
}

}  // namespace triptych

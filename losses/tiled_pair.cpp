// Forward: softmaxes of the own rows, and what all ranks must know of them. Backward: gradients of the own rows.
#include "losses/tiled_pair.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "losses/gathered_pair.h"
#include "losses/tile_contrast.h"

namespace triptych {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// One direction of one rank: its own rows (images or texts) against all rows of the other side.
struct Direction {
  double weight = 0;
  at::Tensor mass;     ///< [own], sum_j T_ij over the other side, fp64
  SoftmaxStats stats;  ///< of the own rows
  SoftmaxStats all;    ///< of all ranks' rows

  bool used() const { return weight != 0; }
  double factor() const { return weight / static_cast<double>(mass.size(0)); }
  /// Mean over the own rows, and its derivative by the scale.
  at::Tensor mean(double scale) const { return (stats.lse(scale) - stats.positive * scale / mass).mean(); }
  at::Tensor scale_gradient() const { return (stats.expected - stats.positive / mass).mean() * weight; }
};

/// What forward leaves to backward.
struct PairState : torch::CustomClassHolder {
  TileSide own_image, own_text, all_image, all_text;
  Direction rows, columns;
  at::Tensor row_mass_all, column_mass_all;  ///< of all images and all texts, fp64
  double scale = 1;
  bool one_process = true;

  PairSoftmax image_to_text() const { return {own_image, all_text, scale}; }
  PairSoftmax text_to_image() const { return {own_text, all_image, scale}; }
};

void run_softmaxes(PairState& state, Collectives& comm) {
  auto &rows = state.rows, &columns = state.columns;
  if (state.one_process && rows.used() && columns.used()) {
    std::tie(rows.stats, columns.stats) = state.image_to_text().both_stats();
  } else {
    if (rows.used()) rows.stats = state.image_to_text().query_stats();
    if (columns.used()) columns.stats = state.text_to_image().query_stats();
  }
  if (rows.used()) rows.all = gather_stats(rows.stats, comm);
  if (columns.used()) columns.all = gather_stats(columns.stats, comm);
}

/// The part of one side in dL/ds: softmax and targets of `direction`, over the rows with these stats and masses.
SideGradient side(const Direction& direction, const SoftmaxStats& stats, const at::Tensor& mass, at::ScalarType dtype) {
  if (!direction.used()) return {{}, {}, 0, at::zeros_like(mass).to(dtype)};
  return {stats.most, stats.log_sum, direction.factor(), (direction.factor() / mass).to(dtype)};
}

struct TiledPair : torch::autograd::Function<TiledPair> {
  static variable_list forward(AutogradContext* context, const at::Tensor& image_bd, const at::Tensor& /*text_kd*/,
                               const at::Tensor& /*scale*/, const c10::intrusive_ptr<PairState>& state,
                               Collectives* comm) {
    run_softmaxes(*state, *comm);
    context->saved_data["state"] = c10::IValue::make_capsule(state);
    const auto dtype = image_bd.scalar_type();
    const auto part = [&](const Direction& d) {
      return (d.used() ? d.mean(state->scale) : at::zeros({}, image_bd.options().dtype(at::kDouble)));
    };
    const at::Tensor rows = part(state->rows), columns = part(state->columns);
    const variable_list out = {(rows * state->rows.weight + columns * state->columns.weight).to(dtype), rows.to(dtype),
                               columns.to(dtype)};
    context->mark_non_differentiable({out[1], out[2]});
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto holder = context->saved_data["state"].toCapsule();
    const auto& state = static_cast<const PairState&>(*holder);
    const auto &rows = state.rows, &columns = state.columns;
    const auto dtype = (rows.used() ? rows : columns).stats.most.scalar_type();
    const auto of_images = [&](bool own) {
      return side(rows, own ? rows.stats : rows.all, own ? rows.mass : state.row_mass_all, dtype);
    };
    const auto of_texts = [&](bool own) {
      return side(columns, own ? columns.stats : columns.all, own ? columns.mass : state.column_mass_all, dtype);
    };
    PairGradients image = pair_gradients(state.image_to_text(), of_images(true), of_texts(false), state.one_process);
    const at::Tensor text =
        state.one_process ? image.key_nd
                          : pair_gradients(state.text_to_image(), of_texts(true), of_images(false), false).query_nd;
    at::Tensor scale = at::zeros({}, state.row_mass_all.options());
    if (rows.used()) scale = scale + rows.scale_gradient();
    if (columns.used()) scale = scale + columns.scale_gradient();
    return {image.query_nd.mul_(gradients[0]), text.mul_(gradients[0]), (scale * gradients[0]).to(dtype), {}, {}};
  }
};

}  // namespace

TiledPairLoss tiled_pair_loss(const at::Tensor& image_bd, const at::Tensor& text_kd, const GatheredLabels& labels,
                              const at::Tensor& scale, Collectives& comm, DirectionWeights weights,
                              ProductType products) {
  const std::int64_t texts = texts_per_image(image_bd, text_kd), b = image_bd.size(0), k = text_kd.size(0);
  TORCH_CHECK(labels.labels_B.size() == b * comm.size(), "labels of ", labels.labels_B.size(), " rows for ",
              b * comm.size(), " images");
  auto state = c10::make_intrusive<PairState>();
  {
    const c10::NoGradGuard no_grad;
    const at::Tensor own_image = rows_for_products(image_bd, products), own_text = rows_for_products(text_kd, products);
    const GatheredPair all = gather_pair(own_image, own_text, comm);
    const auto text_labels = labels.labels_B.repeat(texts);
    const std::int64_t rank = comm.rank();
    state->all_image = {all.image_Bd.contiguous(), labels.labels_B};
    state->all_text = {all.text_Kd.contiguous(), text_labels};
    state->own_image = {own_image, labels.labels_B.narrow(rank * b, b)};
    state->own_text = {own_text, text_labels.narrow(rank * k, k)};
    state->row_mass_all = labels.mass_B * texts;  // an image's targets among the texts
    state->column_mass_all = texts > 1 ? labels.mass_B.repeat_interleave(texts) : labels.mass_B;
    state->rows = {weights.rows, state->row_mass_all.narrow(0, rank * b, b), {}, {}};
    state->columns = {weights.columns, state->column_mass_all.narrow(0, rank * k, k), {}, {}};
    state->scale = scale.item<double>();
    TORCH_CHECK(!(state->scale < 0), "the scale of the logits must not be negative, got ",
                state->scale);  // NaN goes on
    state->one_process = comm.size() == 1;
  }
  const auto out = TiledPair::apply(image_bd, text_kd, scale, state, &comm);
  return {out[0], out[1], out[2]};
}

}  // namespace triptych

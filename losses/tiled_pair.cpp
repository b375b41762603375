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
  at::Tensor mass;      ///< [own], sum_j T_ij over the other side, fp64
  SoftmaxStats stats;   ///< of the own rows
  SoftmaxStats all;     ///< of all ranks' rows
  at::Tensor mass_all;  ///< [all], fp64

  bool used() const { return weight != 0; }
  double factor() const { return weight / static_cast<double>(mass.size(0)); }
  /// Mean over the own rows, and its derivative by the scale.
  at::Tensor mean(double scale) const { return (stats.lse(scale) - stats.positive * scale / mass).mean(); }
  at::Tensor scale_gradient() const { return (stats.expected - stats.positive / mass).mean() * weight; }
};

/// What forward leaves to backward.
struct PairState : torch::CustomClassHolder {
  explicit PairState(PairExchange exchange_) : exchange(std::move(exchange_)) {}

  PairExchange exchange;
  LabelColumns image_labels_B, text_labels_K;
  TileSide own_image, own_text;
  Direction rows, columns;
  double scale = 1;
  bool one_process = true;

  PairSoftmax image_to_text(const PairBlock& block) const {
    return {own_image, {block.text_kd, text_labels_K.narrow(block.text, block.text_kd.size(0))}, scale};
  }
  PairSoftmax text_to_image(const PairBlock& block) const {
    return {own_text, {block.image_nd, image_labels_B.narrow(block.image, block.image_nd.size(0))}, scale};
  }
};

void run_softmaxes(PairState& state, Collectives& comm) {
  auto &rows = state.rows, &columns = state.columns;
  RunningSoftmax of_images(state.own_image.rows_nd), of_texts(state.own_text.rows_nd);
  state.exchange.for_blocks([&](const PairBlock& block) {
    if (state.one_process && rows.used() && columns.used()) {
      add_both(state.image_to_text(block), of_images, of_texts);
      return;
    }
    if (rows.used()) of_images.add(state.image_to_text(block));
    if (columns.used()) of_texts.add(state.text_to_image(block));
  });
  const auto finish = [&](Direction& direction, const RunningSoftmax& softmax) {
    if (!direction.used()) return;
    direction.stats = softmax.stats();
    direction.all = gather_stats(direction.stats, comm);
  };
  finish(rows, of_images);
  finish(columns, of_texts);
}

/// The part of one side in dL/ds: softmax and targets of `direction`, over rows with these stats and masses.
SideGradient side(const Direction& direction, const SoftmaxStats& stats, const at::Tensor& mass, at::ScalarType dtype) {
  if (!direction.used()) return {{}, {}, 0, at::zeros_like(mass).to(dtype)};
  return {stats.most, stats.log_sum, direction.factor(), (direction.factor() / mass).to(dtype)};
}

/// Of a rank's own rows.
SideGradient own_side(const Direction& direction, at::ScalarType dtype) {
  return side(direction, direction.stats, direction.mass, dtype);
}

/// Of rows [first, first + count) of all ranks.
SideGradient block_side(const Direction& direction, std::int64_t first, std::int64_t count, at::ScalarType dtype) {
  const auto part = [&](const at::Tensor& t) { return t.defined() ? t.narrow(0, first, count) : t; };
  return side(direction, {part(direction.all.most), part(direction.all.log_sum), {}, {}}, part(direction.mass_all),
              dtype);
}

void add_to(at::Tensor& sum, at::Tensor part) {
  sum.defined() ? sum.add_(part) : sum = std::move(part);
}

/// Of the own rows: the sum over blocks.
PairGradients own_gradients(const PairState& state) {
  const auto dtype = sums_of(state.own_image.rows_nd).dtype().toScalarType();
  const SideGradient images = own_side(state.rows, dtype), texts = own_side(state.columns, dtype);
  PairGradients total;
  state.exchange.for_blocks([&](const PairBlock& block) {
    const std::int64_t n = block.image_nd.size(0), k = block.text_kd.size(0);
    PairGradients image = pair_gradients(state.image_to_text(block), images,
                                         block_side(state.columns, block.text, k, dtype), state.one_process);
    add_to(total.query_nd, image.query_nd);
    add_to(total.key_nd, state.one_process ? image.key_nd
                                           : pair_gradients(state.text_to_image(block), texts,
                                                            block_side(state.rows, block.image, n, dtype), false)
                                                 .query_nd);
  });
  return total;
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
    PairGradients own = own_gradients(state);
    at::Tensor scale = at::zeros({}, state.rows.mass.options());
    for (const auto* direction : {&state.rows, &state.columns}) {
      if (direction->used()) scale = scale + direction->scale_gradient();
    }
    return {own.query_nd.mul_(gradients[0]),
            own.key_nd.mul_(gradients[0]),
            (scale * gradients[0]).to(gradients[0].scalar_type()),
            {},
            {}};
  }
};

}  // namespace

TiledPairLoss tiled_pair_loss(const at::Tensor& image_bd, const at::Tensor& text_kd, const GatheredLabels& labels,
                              const at::Tensor& scale, Collectives& comm, DirectionWeights weights,
                              ProductType products, Exchange exchange) {
  const std::int64_t texts = texts_per_image(image_bd, text_kd), b = image_bd.size(0), k = text_kd.size(0);
  TORCH_CHECK(labels.labels_B.size() == b * comm.size(), "labels of ", labels.labels_B.size(), " rows for ",
              b * comm.size(), " images");
  c10::intrusive_ptr<PairState> state;
  {
    const c10::NoGradGuard no_grad;
    state = c10::make_intrusive<PairState>(
        PairExchange(rows_for_products(image_bd, products), rows_for_products(text_kd, products), exchange, comm));
    state->image_labels_B = labels.labels_B;
    state->text_labels_K = labels.labels_B.repeat(texts);
    const std::int64_t rank = comm.rank();
    state->own_image = {state->exchange.own_image(), state->image_labels_B.narrow(rank * b, b)};
    state->own_text = {state->exchange.own_text(), state->text_labels_K.narrow(rank * k, k)};
    const at::Tensor of_images = labels.mass_B * texts;  // an image's targets among the texts
    const at::Tensor of_texts = texts > 1 ? labels.mass_B.repeat_interleave(texts) : labels.mass_B;
    state->rows = {weights.rows, of_images.narrow(0, rank * b, b), {}, {}, of_images};
    state->columns = {weights.columns, of_texts.narrow(0, rank * k, k), {}, {}, of_texts};
    state->scale = scale.item<double>();
    TORCH_CHECK(!(state->scale < 0), "the scale of the logits must not be negative, got ",
                state->scale);  // NaN goes on
    state->one_process = comm.size() == 1;
  }
  const auto out = TiledPair::apply(image_bd, text_kd, scale, state, &comm);
  return {out[0], out[1], out[2]};
}

}  // namespace triptych

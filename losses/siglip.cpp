// One sweep over tiles gives loss and gradients; over several ranks a second one gives the texts' gradients.
#include "losses/siglip.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <limits>

#include "losses/gathered_pair.h"
#include "losses/known_gradients.h"
#include "losses/tile_sweep.h"

namespace triptych {
namespace {

/// Sums over queries and keys, where query i belongs to key i + self. Derivatives are by the logits' parts.
struct SigmoidSums {
  at::Tensor positive, negative;  ///< of -log sigmoid(z l), fp64 scalars
  at::Tensor scale, bias;         ///< of dL/dl u.v and dL/dl, fp64 scalars
  at::Tensor query_nd, key_nd;    ///< the rows' own gradients: of dL/dl / queries, times the other side's row
};

at::Tensor minus_log_sigmoid(const at::Tensor& logits) {
  return -at::log_sigmoid(logits).sum(at::kDouble);
}

/// `tile` holds raw products and becomes dL/dl. Its positive pairs, if any, lie on a diagonal.
void turn_tile(at::Tensor& tile, std::int64_t offset, double scale, double bias, SigmoidSums& sums) {
  const bool meets = offset > -tile.size(0) && offset < tile.size(1);
  at::Tensor pairs;
  const at::Tensor logits = tile * scale + bias;
  if (meets) {
    pairs = logits.diagonal(offset).clone();
    logits.diagonal(offset).fill_(-std::numeric_limits<double>::infinity());  // no negative pair
    sums.positive += minus_log_sigmoid(pairs);
  }
  sums.negative += minus_log_sigmoid(-logits);
  const at::Tensor factors = at::sigmoid(logits);
  if (meets) factors.diagonal(offset).copy_(-at::sigmoid(-pairs));
  sums.bias += factors.sum(at::kDouble);
  sums.scale += tile.mul_(factors).sum(at::kDouble);
  tile.copy_(factors);
}

SigmoidSums sweep(const at::Tensor& query_nd, const at::Tensor& key_nd, std::int64_t self, double scale, double bias,
                  bool with_keys) {
  const auto zero = [&] { return at::zeros({}, query_nd.options().dtype(at::kDouble)); };
  SigmoidSums sums{zero(), zero(), zero(), zero(), {}, {}};
  GradientSums gradients(query_nd, key_nd, with_keys);
  for_tiles(query_nd, key_nd, [&](at::Tensor& tile, const TilePlace& at) {
    turn_tile(tile, at.row + self - at.column, scale, bias, sums);
    gradients.add(tile, at);
  });
  sums.query_nd = gradients.take_query(scale / static_cast<double>(query_nd.size(0)));
  sums.key_nd = gradients.take_key(scale / static_cast<double>(query_nd.size(0)));
  return sums;
}

}  // namespace

LossOutput siglip_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const at::Tensor& scale,
                       const at::Tensor& bias, Collectives& comm, ProductType products) {
  TORCH_CHECK(texts_per_image(image_bd, text_bd) == 1, "SigLIP's loss takes one text an image, got ", text_bd.size(0),
              " texts of ", image_bd.size(0), " images");
  const std::int64_t b = image_bd.size(0), first = comm.rank() * b;
  const double s = scale.item<double>(), shift = bias.item<double>(), mean = 1 / static_cast<double>(b);
  const bool alone = comm.size() == 1;
  SigmoidSums own;
  at::Tensor d_text;
  {
    const c10::NoGradGuard no_grad;
    const at::Tensor image = rows_for_products(image_bd, products), text = rows_for_products(text_bd, products);
    const GatheredPair all = gather_pair(image, text, comm);
    own = sweep(image, all.text_Kd.contiguous(), first, s, shift, alone);
    d_text = alone ? own.key_nd : sweep(text, all.image_Bd.contiguous(), first, s, shift, false).query_nd;
  }
  const auto type = image_bd.scalar_type();
  const auto scalar = [&](const at::Tensor& sum) { return (sum * mean).to(type); };
  const at::Tensor total = with_known_gradients(
      scalar(own.positive + own.negative),
      {{image_bd, own.query_nd}, {text_bd, d_text}, {scale, scalar(own.scale)}, {bias, scalar(own.bias)}});
  return {total, {{"positive", scalar(own.positive)}, {"negative", scalar(own.negative)}}};
}

}  // namespace triptych

// CLIP is the tiled loss with labels that all differ.
#include "losses/clip.h"

#include <ATen/ATen.h>

#include "losses/gathered_pair.h"
#include "losses/tiled_pair.h"

namespace triptych {

LossOutput clip_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const at::Tensor& scale, Collectives& comm,
                     ProductType products, Exchange exchange) {
  TORCH_CHECK(texts_per_image(image_bd, text_bd) == 1, "CLIP's loss takes one text an image, got ", text_bd.size(0),
              " texts of ", image_bd.size(0), " images");
  const auto labels = distinct_labels(image_bd.size(0) * comm.size(), image_bd.device());
  const auto loss = tiled_pair_loss(image_bd, text_bd, labels, scale, comm, {}, products, exchange);
  return {loss.total, {{"rows", loss.rows}, {"columns", loss.columns}}};
}

}  // namespace triptych

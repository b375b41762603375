// Gathers both embeddings stacked, in one collective; one process has all of them already.
#include "losses/gathered_pair.h"

#include <ATen/ATen.h>

namespace triptych {

std::int64_t texts_per_image(const at::Tensor& image_bd, const at::Tensor& text_kd) {
  TORCH_CHECK(image_bd.dim() == 2 && text_kd.dim() == 2 && image_bd.size(1) == text_kd.size(1) &&
                  image_bd.size(0) > 0 && text_kd.size(0) > 0 && text_kd.size(0) % image_bd.size(0) == 0,
              "embeddings must be [b, d] and [b n, d] with n texts an image, got images ", image_bd.sizes(),
              " and texts ", text_kd.sizes());
  return text_kd.size(0) / image_bd.size(0);
}

GatheredPair gather_pair(const at::Tensor& image_bd, const at::Tensor& text_kd, Collectives& comm) {
  const std::int64_t texts = texts_per_image(image_bd, text_kd), b = image_bd.size(0), d = image_bd.size(1);
  if (comm.size() == 1) return {image_bd, text_kd};
  const at::Tensor both = at::cat({image_bd.unsqueeze(1), text_kd.reshape({b, texts, d})}, 1);  // [b, 1 + texts, d]
  const at::Tensor all = comm.all_gather(both);
  return {all.select(1, 0), all.narrow(1, 1, texts).flatten(0, 1)};
}

}  // namespace triptych

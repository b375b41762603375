// The CLIP loss of a rank's rows and columns against the gathered batch.
#include "losses/clip.h"

#include <ATen/ATen.h>

#include "losses/gathered_pair.h"

namespace triptych {

LossOutput clip_loss(const at::Tensor& image_bd, const at::Tensor& text_bd, const at::Tensor& scale,
                     Collectives& comm) {
  TORCH_CHECK(texts_per_image(image_bd, text_bd) == 1, "CLIP's loss takes one text an image, got ", text_bd.size(0),
              " texts of ", image_bd.size(0), " images");
  const GatheredPair all = gather_pair(image_bd, text_bd, comm);
  const std::int64_t b = image_bd.size(0);
  const at::Tensor own_b = at::arange(comm.rank() * b, (comm.rank() + 1) * b, image_bd.options().dtype(at::kLong));
  const at::Tensor rows = at::cross_entropy_loss(at::mm(image_bd * scale, all.text_Kd.t()), own_b);
  const at::Tensor columns = at::cross_entropy_loss(at::mm(text_bd * scale, all.image_Bd.t()), own_b);
  return {(rows + columns) / 2, {{"rows", rows.detach()}, {"columns", columns.detach()}}};
}

}  // namespace triptych

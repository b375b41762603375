// UniCL's targets and directions for the tiled loss.
#include "losses/unicl.h"

#include "losses/tiled_pair.h"

namespace triptych {

LossOutput unicl_loss(const at::Tensor& image_bd, const at::Tensor& text_kd, const RowLabels& labels,
                      const at::Tensor& scale, Collectives& comm, UniclDirections directions, ProductType products,
                      Exchange exchange) {
  const auto weights = directions == UniclDirections::kRows      ? DirectionWeights{1, 0}
                       : directions == UniclDirections::kColumns ? DirectionWeights{0, 1}
                                                                 : DirectionWeights{};
  const auto loss = tiled_pair_loss(image_bd, text_kd, gather_labels(labels, image_bd.scalar_type(), comm), scale, comm,
                                    weights, products, exchange);
  LossOutput out{loss.total, {}};
  if (weights.rows > 0) out.terms.push_back({"rows", loss.rows});
  if (weights.columns > 0) out.terms.push_back({"columns", loss.columns});
  return out;
}

}  // namespace triptych

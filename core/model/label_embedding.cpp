// One row a label.
#include "core/model/label_embedding.h"

#include <ATen/ATen.h>

#include <cmath>

namespace triptych {

LabelEmbedding::LabelEmbedding(std::int64_t num_labels, std::int64_t embed_dim, const Initializer& init)
    : embedding_((init / "label_embedding")
                     .normal("weight", {num_labels, embed_dim}, 1 / std::sqrt(static_cast<double>(embed_dim)))) {
  child("label_embedding", embedding_);
}

at::Tensor LabelEmbedding::forward(const at::Tensor& labels, const ForwardScope&) const {
  return embedding_.forward(labels.squeeze(1));
}

}  // namespace triptych

// A text tower without text: one learnt row for each label, the linear map of UniCL's ablation (arXiv:2204.03610).
#pragma once
#include "core/model/towers.h"
#include "core/module/layers.h"

namespace triptych {

class LabelEmbedding : public TextTower {
 public:
  LabelEmbedding(std::int64_t num_labels, std::int64_t embed_dim, const Initializer& init);
  /// Labels int64 [n, 1] in the place of tokens -> [n, embed_dim].
  at::Tensor forward(const at::Tensor& labels, const ForwardScope& scope = {}) const override;

 private:
  Embedding embedding_;
};

}  // namespace triptych

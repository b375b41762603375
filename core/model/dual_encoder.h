// An image tower, a text tower, the learnable logit scale and (SigLIP) bias, with OpenCLIP's names: "visual.*", the
// text tower at the root, "logit_scale", "logit_bias".
#pragma once
#include <memory>
#include <optional>

#include "core/model/model_config.h"
#include "core/model/towers.h"
#include "core/module/initializer.h"

namespace triptych {

class DualEncoder : public Module {
 public:
  /// logit_bias: its initial value; none without a bias. num_labels: of the corpora, for a tower that embeds labels.
  DualEncoder(const ModelConfig& config, const Initializer& init, std::optional<double> logit_bias = {},
              std::int64_t num_labels = 0);
  ImageTower& visual() { return *visual_; }
  TextTower& text() { return *text_; }
  /// Logarithm of the multiplier of cosine similarities: a scalar parameter.
  const at::Tensor& logit_scale() const { return logit_scale_; }
  /// Added to all logits: a scalar parameter, or undefined.
  const at::Tensor& logit_bias() const { return logit_bias_; }

 private:
  std::unique_ptr<ImageTower> visual_;
  std::unique_ptr<TextTower> text_;
  at::Tensor logit_scale_, logit_bias_;
};

}  // namespace triptych

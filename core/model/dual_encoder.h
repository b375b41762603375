// An image tower, a text tower and the learnable logit scale, with OpenCLIP's names: "visual.*", the text tower at the
// root, "logit_scale".
#pragma once
#include <memory>

#include "core/model/model_config.h"
#include "core/model/towers.h"
#include "core/module/initializer.h"

namespace triptych {

class DualEncoder : public Module {
 public:
  DualEncoder(const ModelConfig& config, const Initializer& init);
  ImageTower& visual() { return *visual_; }
  TextTower& text() { return *text_; }
  /// Logarithm of the multiplier of cosine similarities: a scalar parameter.
  const at::Tensor& logit_scale() const { return logit_scale_; }

 private:
  std::unique_ptr<ImageTower> visual_;
  std::unique_ptr<TextTower> text_;
  at::Tensor logit_scale_;
};

}  // namespace triptych

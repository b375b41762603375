// Composition of the two towers.
#include "core/model/dual_encoder.h"

#include <ATen/ATen.h>

#include "core/model/model_factory.h"

namespace triptych {

DualEncoder::DualEncoder(const ModelConfig& config, const Initializer& init, std::optional<double> logit_bias,
                         std::int64_t num_labels)
    : visual_(make_image_tower(config, config.embed_dim, init / "visual")),
      text_(make_text_tower(config, num_labels, init)),
      logit_scale_(parameter("logit_scale", at::scalar_tensor(config.init_logit_scale, at::kFloat))) {
  if (logit_bias) logit_bias_ = parameter("logit_bias", at::scalar_tensor(*logit_bias, at::kFloat));
  child("visual", *visual_);
  child("", *text_);
}

}  // namespace triptych

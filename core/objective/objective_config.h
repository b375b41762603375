// The `objective` section: the union of the published methods' own keys.
#pragma once
#include <string>
#include <variant>

#include "core/base/config.h"

namespace triptych {

/// The same key of several objectives.
template <class Value, class Visit>
void exchange_field(Value& exchange, Visit&& field) {
  field("exchange", exchange,
        "how the loss meets the embeddings of the other ranks: gathered once (gather), or passed around a ring of "
        "ranks, a rank's rows at a time (ring): no rank holds them all, but they travel again in the backward",
        one_of({"gather", "ring"}));
}

struct UniclConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "unicl";
  std::string directions = "both";
  bool clamp_scale = false;
  std::string exchange = "gather";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("directions", c.directions,
          "softmax over texts for each image (rows), over images for each text (columns), or the "
          "mean of both",
          one_of({"both", "rows", "columns"}));
    field("clamp_scale", c.clamp_scale,
          "keep the logit scale's logarithm in [0, log 100], as CLIP; the paper leaves it free");
    exchange_field(c.exchange, field);
  }
};

struct ClipConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "clip";
  bool clamp_scale = true;
  std::string exchange = "gather";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("clamp_scale", c.clamp_scale, "keep the logit scale's logarithm in [0, log 100] after every update");
    exchange_field(c.exchange, field);
  }
};

struct SigLipConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "siglip";
  double init_bias = -10;
  bool clamp_scale = true;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("init_bias", c.init_bias,
          "initial value of the learnable bias of all logits; the paper starts the multiplier at 10: "
          "model.init_logit_scale: 2.302585");
    field("clamp_scale", c.clamp_scale, "keep the logit scale's logarithm in [0, log 100] after every update");
  }
};

struct CrossEntropyConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "cross_entropy";
  double label_smoothing = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label_smoothing", c.label_smoothing, "share of the target spread over all classes", between(0, 0.99));
  }
};

struct SupConConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "supcon";
  double temperature = 0.1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("temperature", c.temperature, "divides cosine similarities", positive());
  }
};

using ObjectiveConfig = std::variant<UniclConfig, ClipConfig, SigLipConfig, CrossEntropyConfig, SupConConfig>;

}  // namespace triptych

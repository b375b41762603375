// The `model` section: towers by type, and weights to start from.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/config.h"
#include "core/model/image_tower_config.h"
#include "core/model/text_tower_config.h"

namespace triptych {

/// Weights to start from, safetensors files with OpenCLIP's names or those of foreign_names.h. Empty: nothing.
struct InitConfig {
  std::string whole, image, text;
  std::string positions = "refuse";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("whole", c.whole, "safetensors file with the whole model");
    field("image", c.image, "safetensors file whose visual.* tensors start the image tower");
    field("text", c.text, "safetensors file whose text tensors start the text tower");
    field("positions", c.positions,
          "position tables of another picture size: refuse them, or resample them bicubically, antialias: as OpenCLIP, "
          "timm; plain: as TCL. Take what the weights' authors took",
          one_of({"refuse", "antialias", "plain"}));
  }
  void validate() const;
};

/// Layers above a BERT's that look at image tokens.
struct FusionConfig {
  std::int64_t depth = 6;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("depth", c.depth, "layers with cross-attention, of the text tower's sizes; text.depth counts those below",
          at_least(1));
  }
};

struct ModelConfig {
  ImageTowerConfig image;
  TextTowerConfig text;
  std::optional<FusionConfig> fusion;
  std::int64_t embed_dim = 512;
  double init_logit_scale = 2.6592600369327781;
  InitConfig init_from;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("image", c.image, "image tower");
    field("text", c.text, "text tower");
    field("fusion", c.fusion, "fusion encoder: a bert text tower goes on in layers that look at image tokens (tcl)");
    field("embed_dim", c.embed_dim, "width of the shared embedding", at_least(1));
    field("init_logit_scale", c.init_logit_scale,
          "initial logarithm of the multiplier of cosine similarities; "
          "log(1/0.07) as CLIP; UniCL's release starts at 1.0",
          between(-10, 10));
    field("init_from", c.init_from, "weights to start from");
  }
  void validate() const;
};

}  // namespace triptych

// `model.image`: the image towers by type.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/config.h"

namespace triptych {

struct VitConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "vit";
  std::int64_t image_size = 224, patch_size = 32, width = 768, depth = 12, heads = 12;
  double mlp_ratio = 4;
  std::string activation = "gelu";
  double drop_path = 0, patch_dropout = 0;
  std::string form = "clip";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("image_size", c.image_size, "height = width of the pictures, in pixels", between(1, 4096));
    field("patch_size", c.patch_size, "side of a patch, in pixels; divides image_size", at_least(1));
    field("width", c.width, "channels", at_least(1));
    field("depth", c.depth, "blocks", at_least(1));
    field("heads", c.heads, "attention heads; divides width", at_least(1));
    field("mlp_ratio", c.mlp_ratio, "hidden width of a block's MLP over width", positive());
    field("activation", c.activation, "of the MLPs", one_of({"gelu", "quick_gelu"}));
    field("drop_path", c.drop_path, "largest probability of dropping a residual branch; grows linearly with depth",
          between(0, 0.99));
    field("patch_dropout", c.patch_dropout,
          "share of the patches that a training row leaves out, drawn anew each time (FLIP); the class token stays",
          between(0, 0.95));
    field("form", c.form,
          "clip: norm before the blocks, patches without bias, epsilon 1e-5; timm: patches with bias, epsilon 1e-6, as "
          "timm's and TCL's",
          one_of({"clip", "timm"}));
  }
  void validate() const;
};

struct SwinConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "swin";
  std::int64_t image_size = 224, patch_size = 4, width = 96, window = 7;
  std::vector<std::int64_t> depths = {2, 2, 6, 2}, heads = {3, 6, 12, 24};
  double mlp_ratio = 4, drop_path = 0.2;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("image_size", c.image_size, "height = width of the pictures, in pixels", between(1, 4096));
    field("patch_size", c.patch_size, "side of a patch, in pixels; divides image_size", at_least(1));
    field("width", c.width, "channels of the first stage; each stage has twice those of the one before", at_least(1));
    field("window", c.window, "side of a window, in patches; divides each stage's grid that is larger", at_least(1));
    field("depths", c.depths, "blocks of each stage");
    field("heads", c.heads, "attention heads of each stage; divide its channels");
    field("mlp_ratio", c.mlp_ratio, "hidden width of a block's MLP over its width", positive());
    field("drop_path", c.drop_path, "largest probability of dropping a residual branch; grows linearly with depth",
          between(0, 0.99));
  }
  void validate() const;
};

struct ResNetConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "resnet";
  std::int64_t image_size = 224, width = 64;
  std::vector<std::int64_t> depths = {3, 4, 6, 3};
  std::string pool = "average";
  std::int64_t pool_heads = 32;
  std::string batch_norm = "synchronised";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("image_size", c.image_size, "height = width of the pictures, in pixels", between(1, 4096));
    field("width", c.width, "channels of the stem; the last stage has 32 times as many", at_least(1));
    field("depths", c.depths, "bottleneck blocks of each stage: [3, 4, 6, 3] is ResNet-50, [3, 4, 23, 3] ResNet-101");
    field("pool", c.pool, "what makes one row of the last grid: its average, or attention as CLIP's",
          one_of({"average", "attention"}));
    field("pool_heads", c.pool_heads, "attention heads of the pool; divides 32 x width", at_least(1));
    field(
        "batch_norm", c.batch_norm,
        "synchronised: statistics of the micro-batch over all ranks; frozen: the running averages, which stay as they "
        "were loaded",
        one_of({"synchronised", "frozen"}));
  }
  void validate() const;
};

using ImageTowerConfig = std::variant<VitConfig, SwinConfig, ResNetConfig>;

}  // namespace triptych

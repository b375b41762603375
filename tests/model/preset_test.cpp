// The presets of configs/models: readable, of OpenCLIP's sizes, and buildable.
#include <gtest/gtest.h>

#include "core/base/config_reader.h"
#include "core/base/errors.h"
#include "core/model/dual_encoder.h"
#include "core/model/fusion_model.h"
#include "tests/support/paths.h"

namespace triptych {
namespace {

/// A file that holds a model section only.
struct Preset {
  ModelConfig model;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("model", c.model, "towers");
  }
};

ModelConfig preset(const std::string& name, const std::vector<std::string>& changes = {}) {
  return load_config<Preset>(source_path("configs/models/") + name + ".yaml", changes).model;
}

TEST(Presets, HaveTheKnownNumbersOfParameters) {
  // In millions. ViTs: OpenCLIP's documentation. Swin: the published image towers (27.52, 48.84, 86.74 and 195.00
  // without classifiers), the projection, UniCL's text tower of 63.17 and its projection. ResNets: torchvision's
  // without classifiers, the pool, CLIP's text tower. BERT-base without its pooler is 108.89.
  const std::vector<std::pair<std::string, double>> known = {
      {"vit_b32", 151.28},     {"vit_b16", 149.62},      {"vit_l14", 427.62},      {"vit_h14", 986.11},
      {"unicl_swin_t", 91.34}, {"unicl_swin_s", 112.66}, {"unicl_swin_b", 150.70}, {"unicl_swin_l", 259.21},
      {"rn50", 100.68},        {"rn101", 119.67},        {"vit_b16_bert", 195.08}, {"loupe_swin_l", 224.55}};
  for (const auto& [name, millions] : known) {
    const DualEncoder model(preset(name), Initializer(1, "", at::kMeta));
    EXPECT_NEAR(static_cast<double>(model.parameter_count()) / 1e6, millions, 0.01) << name;
  }
  // The image tower has 85.84, BERT with cross-attention and word head 123.70, projections and matching head 0.40.
  const FusionModel tcl(preset("tcl_base"), 0.07, Initializer(1, "", at::kMeta));
  EXPECT_NEAR(static_cast<double>(tcl.parameter_count()) / 1e6, 209.94, 0.01);
  const FusionModel tiny_tcl(preset("tcl_tiny"), 0.07, Initializer(1, "", at::kMeta));
  EXPECT_NEAR(static_cast<double>(tiny_tcl.parameter_count()) / 1e6, 5.88, 0.01);
  const DualEncoder tiny(preset("vit_tiny_p16_64"), Initializer(1));
  EXPECT_LT(tiny.parameter_count(), 15'000'000);
}

TEST(Presets, NamesAreOpenClips) {
  const DualEncoder model(preset("vit_tiny_p16_64"), Initializer(1));
  std::vector<std::string> names;
  for (const auto& item : model.parameters()) names.push_back(item.name);
  for (const auto* name :
       {"logit_scale", "positional_embedding", "text_projection", "token_embedding.weight", "ln_final.bias",
        "transformer.resblocks.3.attn.in_proj_weight", "visual.conv1.weight", "visual.proj", "visual.class_embedding",
        "visual.transformer.resblocks.5.mlp.c_proj.bias", "visual.ln_post.weight"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
}

std::string refusal(const std::vector<std::string>& changes) {
  try {
    preset("vit_tiny_p16_64", changes);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "(accepted)";
}

TEST(Presets, ContradictionsAreRefusedByTheirKey) {
  EXPECT_NE(refusal({"model.image.patch_size=15"}).find("model.image.patch_size"), std::string::npos);
  EXPECT_NE(refusal({"model.image.heads=5"}).find("model.image.heads"), std::string::npos);
  EXPECT_NE(refusal({"model.text.heads=5"}).find("model.text.heads"), std::string::npos);
  EXPECT_NE(refusal({"model.init_from.whole=a", "model.init_from.image=b"}).find("model.init_from.whole"),
            std::string::npos);
  EXPECT_EQ(refusal({"model.image.heads=4"}), "(accepted)");
  const std::string swin =
      "model.image={type: swin, image_size: 64, patch_size: 4, window: 4, depths: [2, 2], heads: [3, 6]";
  EXPECT_EQ(refusal({swin + "}"}), "(accepted)");
  EXPECT_NE(refusal({swin + ", width: 64}"}).find("model.image.heads: 3 does not divide the 64 channels of stage 1"),
            std::string::npos);
  EXPECT_NE(
      refusal({"model.image={type: swin, image_size: 64, window: 7}"}).find("model.image.window: 7 does not divide"),
      std::string::npos);
  EXPECT_NE(refusal({"model.image={type: swin, depths: [2, 2]}"}).find("model.image.heads"), std::string::npos);
  EXPECT_NE(refusal({"model.image={type: resnet, depths: [2]}"}).find("model.image.depths"), std::string::npos);
  EXPECT_NE(refusal({"model.text={type: bert, context: 600}"}).find("model.text.context"), std::string::npos);
}

}  // namespace
}  // namespace triptych

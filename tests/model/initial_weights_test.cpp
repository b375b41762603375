// Weights to start from: whole model, one tower, and what does not fit.
#include "core/model/initial_weights.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/base/errors.h"
#include "core/model/dual_encoder.h"
#include "core/model/fusion_model.h"
#include "core/model/loupe_model.h"
#include "core/model/model_factory.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

ModelConfig small(std::int64_t width = 8) {
  VitConfig image;
  image.image_size = 8;
  image.patch_size = 4;
  image.width = width;
  image.depth = 1;
  image.heads = 2;
  CausalTransformerConfig text;
  text.context = 5;
  text.width = 8;
  text.depth = 1;
  text.heads = 2;
  text.vocabulary = 20;
  ModelConfig config;
  config.image = image;
  config.text = text;
  config.embed_dim = 4;
  return config;
}

bool same(const Module& a, const Module& b, const std::function<bool(const std::string&)>& which) {
  const auto left = a.parameters(), right = b.parameters();
  for (std::size_t i = 0; i < left.size(); ++i) {
    // The logit scale starts equal everywhere.
    if (left[i].name != "logit_scale" && which(left[i].name) != at::equal(left[i].tensor, right[i].tensor)) {
      const bool constant = left[i].name.ends_with("bias") || left[i].name.find("ln_") != std::string::npos;
      if (!constant) return false;
    }
  }
  return true;
}

bool is_visual(const std::string& name) {
  return name.starts_with("visual.");
}

struct InitFrom : testing::Test {
  TempDir folder;
  std::string path = folder / "weights.safetensors";
  DualEncoder source{small(), Initializer(1)}, target{small(), Initializer(2)};

  std::string refusal(Module& model, const InitConfig& config) {
    try {
      load_initial_weights(model, config);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "(accepted)";
  }
};

TEST_F(InitFrom, WholeModelOrOneTower) {
  save_safetensors(path, source.parameters());
  EXPECT_TRUE(same(source, target, [](const auto&) { return false; }));
  load_initial_weights(target, {.whole = "", .image = path, .text = ""});
  EXPECT_TRUE(same(source, target, is_visual));
  DualEncoder text(small(), Initializer(3));
  load_initial_weights(text, {.whole = "", .image = "", .text = path});
  EXPECT_TRUE(same(source, text, [](const auto& name) { return !is_visual(name); }));
  load_initial_weights(target, {.whole = path, .image = "", .text = ""});
  EXPECT_TRUE(same(source, target, [](const auto&) { return true; }));
  EXPECT_TRUE(target.parameters()[0].tensor.requires_grad());
}

TEST_F(InitFrom, ConvertsDtypes) {
  std::vector<NamedTensor> halves;
  for (const auto& [name, tensor] : source.parameters()) halves.push_back({name, tensor.detach().to(at::kHalf)});
  save_safetensors(path, halves);
  load_initial_weights(target, {.whole = path, .image = "", .text = ""});
  EXPECT_EQ(target.parameters()[0].tensor.scalar_type(), at::kFloat);
  EXPECT_LT(difference(target.parameters()[5].tensor, source.parameters()[5].tensor), 1e-2);
}

TEST_F(InitFrom, AnImageTowerWithoutProjectionLeavesItInTheFile) {
  save_safetensors(path, source.parameters());
  struct Only : Module {
    explicit Only(Module& tower) { child("visual", tower); }
  };
  const auto tower = make_image_tower(small(), std::nullopt, Initializer(2));
  Only model(*tower);
  EXPECT_EQ(refusal(model, {.whole = "", .image = path, .text = ""}), "(accepted)");
  EXPECT_NE(refusal(model, {.whole = path, .image = "", .text = ""}).find("unexpected  visual.proj"),
            std::string::npos);
  EXPECT_NE(refusal(model, {.whole = "", .image = "", .text = path}).find("no such tower"), std::string::npos);
}

TEST_F(InitFrom, ListsEveryDifferenceAndChangesNothing) {
  std::vector<NamedTensor> weights;
  for (const auto& [name, tensor] : DualEncoder(small(12), Initializer(1)).parameters()) {
    if (name != "text_projection") weights.push_back({name, tensor});
  }
  weights.push_back({"extra", at::ones({3})});
  save_safetensors(path, weights);
  const std::string message = refusal(target, {.whole = path, .image = "", .text = ""});
  EXPECT_NE(message.find("model.init_from.whole"), std::string::npos);
  EXPECT_NE(message.find("missing     text_projection [8, 4]"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected  extra [3]"), std::string::npos) << message;
  EXPECT_NE(message.find("shape       visual.class_embedding [12] in the file, [8] in the model"), std::string::npos)
      << message;
  const DualEncoder fresh(small(), Initializer(2));
  EXPECT_TRUE(same(fresh, target, [](const auto&) { return true; }));
}

TEST_F(InitFrom, AFileThatCannotBeReadIsAnErrorOfTheConfiguration) {
  EXPECT_NE(refusal(target, {.whole = path, .image = "", .text = ""}).find("cannot be opened"), std::string::npos);
  std::ofstream(path) << "not a tensor file";
  EXPECT_NE(refusal(target, {.whole = "", .image = path, .text = ""}).find("model.init_from.image"), std::string::npos);
}

/// What learnt by contrast alone starts what shall learn from games, whose networks no tower's file holds.
TEST_F(InitFrom, TheTowersOfLoupeFromAFileWithoutRegions) {
  ModelConfig config = small();
  config.text = BertConfig{.context = 8, .width = 8, .depth = 1, .heads = 2, .vocabulary = 90};
  const UnsilShape games{.width = 8, .target_width = 8, .image_tokens = 4, .text_tokens = 8, .heads = 2};
  const LoupeModel coarse(config, {}, Initializer(1));
  LoupeModel fine(config, {.region_hidden = 4, .network = "attention", .tokens = games}, Initializer(2));
  save_safetensors(path, coarse.parameters());
  std::map<std::string, at::Tensor> before;
  for (const auto& [name, tensor] : fine.parameters()) before[name] = tensor.detach().clone();
  EXPECT_EQ(refusal(fine, {.whole = "", .image = path, .text = path}), "(accepted)");
  std::map<std::string, at::Tensor> brought;
  for (const auto& [name, tensor] : coarse.parameters()) brought[name] = tensor;
  int of_towers = 0, own = 0;
  for (const auto& [name, tensor] : fine.parameters()) {
    const bool tower = brought.contains(name) && name != "temperature";
    EXPECT_TRUE(at::equal(tensor, tower ? brought[name] : before[name])) << name;
    (tower ? of_towers : own) += 1;
  }
  EXPECT_GT(of_towers, 20);
  EXPECT_GT(own, 4);
}

TEST(InitialWeights, TheUpperLayersOfABertStartTheFusionEncoder) {
  const auto file = source_path("tests/golden/checkpoints/hf_bert_small/model.safetensors");
  ModelConfig config = small();
  config.text =
      BertConfig{.context = 8, .width = 32, .depth = 1, .heads = 4, .vocabulary = 90, .mlp_ratio = 2, .positions = 20};
  config.fusion = FusionConfig{.depth = 1};
  FusionModel model(config, 0.07, Initializer(1));
  std::map<std::string, at::Tensor> before;
  for (const auto& [name, tensor] : model.parameters()) before[name] = tensor.detach().clone();
  InitConfig init;
  init.text = file;
  load_initial_weights(model, init);
  const SafetensorsReader weights(file);
  int loaded = 0;
  for (const auto& [name, tensor] : model.parameters()) {
    const auto theirs = (name.starts_with("cls.") ? "" : "bert.") + name;
    const bool brought = weights.tensors().contains(theirs);
    EXPECT_TRUE(at::equal(tensor, brought ? weights.read(theirs) : before.at(name))) << name;
    loaded += brought ? 1 : 0;
  }
  EXPECT_EQ(loaded, static_cast<int>(weights.tensors().size()));  // the fusion layer and the word head too
}

}  // namespace
}  // namespace triptych

// Swin against the released code of UniCL and against timm.
#include "core/model/swin.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/initial_weights.h"
#include "core/model/model_factory.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

SwinConfig tiny_swin(double drop_path = 0) {
  SwinConfig config;
  config.image_size = 32;
  config.patch_size = 2;
  config.width = 16;
  config.window = 4;
  config.depths = {2, 2};
  config.heads = {2, 4};
  config.drop_path = drop_path;
  return config;
}

nlohmann::json noise_of(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(source_path("tests/golden/" + name + ".json")))["fp32_noise"]["values"];
}

/// The released model as its file would be: parameters under their own names.
std::string released_file(const Golden& golden, const TempDir& folder) {
  std::vector<NamedTensor> tensors;
  const std::string prefix = "param.";
  for (const auto& [name, stored] : golden.tensors())
    if (name.starts_with(prefix)) tensors.push_back({name.substr(prefix.size()), golden[name]});
  const auto path = folder.path() / "unicl.safetensors";
  save_safetensors(path, tensors);
  return path.string();
}

struct ImageOnly : Module {
  explicit ImageOnly(ImageTower& tower) { child("visual", tower); }
};

TEST(Swin, UniclImageTowerIsGolden) {
  const Golden golden("unicl_encoders");
  const auto noise = noise_of("unicl_encoders");
  const TempDir folder;
  SwinTransformer tower(tiny_swin(), 20, Initializer(1));
  ImageOnly model(tower);
  load_initial_weights(model, {.whole = "", .image = released_file(golden, folder), .text = ""});

  const at::Tensor raw = tower.project(tower.features(golden["in.image"], {}));
  EXPECT_LT(difference(raw, golden["out.image_features_unnormalised"]),
            10 * noise["out.image_features_unnormalised"].get<double>());
  const at::Tensor image = unit(raw), text = golden["out.text_features"];
  const at::Tensor logits = golden["out.scale"] * image.matmul(text.t());
  const at::Tensor scalar = (golden["in.weight_logits"] * logits.log_softmax(1)).sum() +
                            (golden["in.weight_image"] * image).sum() + (golden["in.weight_text"] * text).sum();
  EXPECT_LT(difference(scalar, golden["out.scalar"]), 10 * noise["out.scalar"].get<double>());
  scalar.backward();
  for (const auto& [name, parameter] : tower.parameters()) {
    const std::string theirs = name == "proj" ? "grad.image_projection" : "grad.image_encoder." + name;
    const at::Tensor expected = golden[theirs];
    const double bound = std::max(10 * noise.value(theirs, 0.0), 1e-6 * expected.abs().max().item<double>());
    EXPECT_LT(difference(parameter.grad(), expected), bound) << name;
  }
}

TEST(Swin, TimmsFileIsGolden) {
  const Golden golden("timm_swin_tiny");
  SwinTransformer tower(tiny_swin(), 20, Initializer(1));
  ImageOnly model(tower);
  const at::Tensor projection = tower.parameters()[0].tensor.detach().clone();
  load_initial_weights(
      model, {.whole = "", .image = source_path("tests/golden/checkpoints/timm_swin_tiny.safetensors"), .text = ""});
  EXPECT_TRUE(at::equal(projection, tower.parameters()[0].tensor));  // a backbone has none
  EXPECT_LT(difference(tower.features(golden["in.image"], {}), golden["out.pooled"]),
            10 * noise_of("timm_swin_tiny")["out.pooled"].get<double>());
}

TEST(Swin, RefusesOtherPicturesAndAProjectionThatItLacks) {
  SwinConfig config = tiny_swin();
  config.depths = {2};
  config.heads = {2};
  SwinTransformer tower(config, std::nullopt, Initializer(3));
  tower.to(at::kCPU, at::kDouble);
  const at::Tensor pixels = draw({1}, {1, 3, 32, 32});
  const at::Tensor features = tower.features(pixels, {});
  EXPECT_EQ(features.sizes(), (std::vector<std::int64_t>{1, 16}));
  EXPECT_THROW(tower.project(features), c10::Error);
  EXPECT_THROW(tower.features(pixels.narrow(2, 0, 16), {}), c10::Error);
}

TEST(Swin, DropPathActsWhileTrainingOnlyAndTheNumbersOfParametersArePublished) {
  SwinTransformer tower(tiny_swin(0.9), std::nullopt, Initializer(4));
  const at::Tensor pixels = draw({1}, {6, 3, 32, 32}).to(at::kFloat);
  const auto with = [&](std::uint64_t key) {
    return tower.features(pixels, {.draws = keyed_generator(key, at::kCPU)});
  };
  EXPECT_TRUE(at::equal(with(1), with(1)));
  EXPECT_GT(difference(with(1), with(2)), 1e-4);
  tower.set_training(false);
  EXPECT_TRUE(at::equal(with(1), SwinTransformer(tiny_swin(), std::nullopt, Initializer(4)).features(pixels, {})));

  // Swin-T and Swin-B without heads, as published.
  const auto parameters = [](std::int64_t width, std::vector<std::int64_t> depths, std::vector<std::int64_t> heads) {
    SwinConfig config;
    config.width = width;
    config.depths = std::move(depths);
    config.heads = std::move(heads);
    return SwinTransformer(config, std::nullopt, Initializer(1, "", at::kMeta)).parameter_count();
  };
  EXPECT_EQ(parameters(96, {2, 2, 6, 2}, {3, 6, 12, 24}), 27'519'354);
  EXPECT_EQ(parameters(128, {2, 2, 18, 2}, {4, 8, 16, 32}), 86'743'224);
}

}  // namespace
}  // namespace triptych

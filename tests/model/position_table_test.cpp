// Position tables of another grid, against three libraries; weights that come with one.
#include "core/model/position_table.h"

#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/model/initial_weights.h"
#include "core/model/vit.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

TEST(PositionTable, BothPublishedWaysAreGolden) {
  const Golden golden("timm_vit_tiny");
  const std::vector<std::pair<std::string, std::int64_t>> cases = {{"4x4_to_6x6", 6},    {"4x4_to_8x8", 8},
                                                                   {"4x4_to_3x3", 3},    {"7x7_to_8x8", 8},
                                                                   {"7x7_to_12x12", 12}, {"7x7_to_5x5", 5}};
  for (const auto& [name, grid] : cases) {
    const at::Tensor table = golden["pos.table_" + name.substr(0, 3)][0];
    const auto resampled = [&](TableResampling how) { return resampled_positions(table, 1, grid, how); };
    const double bound = 2e-6 * table.abs().max().item<double>();
    EXPECT_LT(difference(resampled(TableResampling::kAntialias), golden["pos.timm_" + name][0]), bound) << name;
    EXPECT_LT(difference(resampled(TableResampling::kAntialias), golden["pos.openclip_" + name][0]), bound) << name;
    EXPECT_LT(difference(resampled(TableResampling::kPlain), golden["pos.tcl_" + name][0]), bound) << name;
    // The ways differ: one for the other would be seen.
    EXPECT_GT(difference(resampled(TableResampling::kPlain), golden["pos.timm_" + name][0]), 1e3 * bound) << name;
  }
}

struct Tower : Module {
  VisionTransformer vit;
  explicit Tower(const VitConfig& config) : vit(config, 5, Initializer(1)) { child("visual", vit); }
};

VitConfig timm_tiny(std::int64_t image_size) {
  VitConfig config;
  config.image_size = image_size;
  config.patch_size = 16;
  config.width = 48;
  config.depth = 2;
  config.heads = 3;
  config.form = "timm";
  return config;
}

InitConfig from_timm(const std::string& positions) {
  InitConfig init;
  init.image = source_path("tests/golden/checkpoints/timm_vit_tiny.safetensors");
  init.positions = positions;
  return init;
}

TEST(PositionTable, TimmsVitIsGolden) {
  const Golden golden("timm_vit_tiny");
  Tower tower(timm_tiny(64));
  load_initial_weights(tower, from_timm("refuse"));
  EXPECT_LT(difference(tower.vit.features(golden["in.image"], {}), golden["out.cls"]), 2e-5);
}

TEST(PositionTable, TimmsVitOnALargerPictureIsGolden) {
  const Golden golden("timm_vit_tiny");
  Tower tower(timm_tiny(96));
  EXPECT_THROW(load_initial_weights(tower, from_timm("refuse")), ConfigError);
  load_initial_weights(tower, from_timm("antialias"));
  const at::Tensor expected = golden["out.features_6x6"].select(1, 0);
  EXPECT_LT(difference(tower.vit.features(golden["in.image_6x6"], {}), expected), 3e-5);
  load_initial_weights(tower, from_timm("plain"));
  EXPECT_GT(difference(tower.vit.features(golden["in.image_6x6"], {}), expected), 1e-3);
}

TEST(PositionTable, AClipVitRefusesTimmsFileAndNamesIt) {
  VitConfig config = timm_tiny(64);
  config.form = "clip";
  Tower tower(config);
  try {
    load_initial_weights(tower, from_timm("refuse"));
    FAIL();
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("names of timm's ViT"), std::string::npos) << text;
    EXPECT_NE(text.find("missing     visual.ln_pre.weight"), std::string::npos) << text;
    EXPECT_NE(text.find("unexpected  visual.conv1.bias"), std::string::npos) << text;
  }
}

TEST(PatchDropout, KeepsWholePatchesWhileTraining) {
  VitConfig config = timm_tiny(64);
  config.patch_dropout = 0.5;
  VisionTransformer tower(config, std::nullopt, Initializer(1));
  const at::Tensor pixels = draw({1}, {3, 3, 64, 64}).to(at::kFloat).set_requires_grad(true);
  const auto with = [&](std::uint64_t key) {
    return tower.features(pixels, {.draws = keyed_generator(key, at::kCPU)});
  };
  EXPECT_TRUE(at::equal(with(1), with(1)));
  EXPECT_GT(difference(with(1), with(2)), 1e-4);
  (with(1) * draw({2}, {3, 48})).sum().backward();
  // Half of the 16 patches of each row got a gradient, the rest none at all.
  const at::Tensor by_patch = pixels.grad().abs().view({3, 3, 4, 16, 4, 16}).sum({1, 3, 5}).flatten(1);
  EXPECT_TRUE(at::equal((by_patch > 0).sum(1), at::full({3}, 8, at::kLong)));
  EXPECT_FALSE(at::equal((by_patch > 0)[0], (by_patch > 0)[1]));  // each row its own
  EXPECT_THROW(tower.features(pixels, {}), c10::Error);           // no draws
  tower.set_training(false);
  config.patch_dropout = 0;
  VisionTransformer plain(config, std::nullopt, Initializer(1));
  EXPECT_TRUE(at::equal(tower.features(pixels, {}), plain.features(pixels, {})));
}

}  // namespace
}  // namespace triptych

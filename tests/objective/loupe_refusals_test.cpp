// What LOUPE refuses: models and corpora that cannot work, settings that contradict each other or mean nothing.
#include "core/objective/loupe.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/base/errors.h"
#include "tests/objective/tiny_loupe.h"

namespace triptych {
namespace {

void expect_loupe_refused(const LoupeConfig& config, const ModelConfig& model, const std::string& part,
                          const CorpusFacts& facts = tiny_facts()) {
  try {
    LoupeObjective objective(config, model, facts, in_fp64());
    ADD_FAILURE() << "accepted: " << part;
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Loupe, ModelsAndCorporaThatCannotWorkAreRefused) {
  auto model = tiny_loupe_model();
  model.text = CausalTransformerConfig{};
  expect_loupe_refused(tiny_loupe(), model, "model.text.type");
  model = tiny_loupe_model();
  model.image = ResNetConfig{};
  expect_loupe_refused(tiny_loupe(), model, "model.image.type");
  model = tiny_loupe_model();
  model.image = VitConfig{.image_size = 16, .patch_size = 4, .width = 12, .depth = 1, .heads = 3, .patch_dropout = 0.5};
  expect_loupe_refused(tiny_loupe(), model, "model.image.patch_dropout");
  model = tiny_loupe_model();
  model.init_logit_scale = 1;
  expect_loupe_refused(tiny_loupe(), model, "model.init_logit_scale");
  auto facts = tiny_facts();
  facts.captions = 2;
  expect_loupe_refused(tiny_loupe(), tiny_loupe_model(), "data.captions.all_positive", facts);
  model = tiny_loupe_model();
  model.fusion = FusionConfig{};
  EXPECT_THROW(make_objective(tiny_loupe(), model, tiny_facts(), in_fp64()), ConfigError);
  auto config = tiny_loupe();
  config.regions.count = 17;
  expect_loupe_refused(config, tiny_loupe_model(), "objective.regions.count");
  config.tokens.weight = config.phrases.weight = 0;  // nobody asks for regions
  EXPECT_NO_THROW(LoupeObjective(config, tiny_loupe_model(), tiny_facts(), in_fp64()));
  config = tiny_loupe("transformer");
  config.unsil.heads = 4;  // of 6 channels
  expect_loupe_refused(config, tiny_loupe_model(), "objective.unsil.heads");
  config = tiny_loupe();
  config.phrases.convention = "renormalised";
  config.regions.count = 17;
  model = tiny_loupe_model();
  std::get<SwinConfig>(model.image).depths = {2};
  std::get<SwinConfig>(model.image).heads = {2};
  expect_loupe_refused(config, model, "objective.phrases.convention");  // 2^17 sets
  config.phrases.value = "sampled";
  EXPECT_NO_THROW(LoupeObjective(config, model, tiny_facts(), in_fp64()));
}

void expect_invalid(const LoupeConfig& config, const std::string& key) {
  try {
    config.validate();
    ADD_FAILURE() << "accepted: " << key;
  } catch (const FieldError& e) {
    EXPECT_EQ(e.key(), key) << e.what();
  }
}

TEST(Loupe, SettingsThatContradictEachOtherAreRefused) {
  EXPECT_NO_THROW(tiny_loupe().validate());
  EXPECT_NO_THROW(LoupeConfig{}.validate());
  auto config = tiny_loupe();
  config.tokens.coalitions = 5;
  expect_invalid(config, "tokens.coalitions");
  config.tokens.sampler = "stratified";
  EXPECT_NO_THROW(config.validate());
  config = tiny_loupe();
  config.tokens.targets = 2;  // of 3 regions
  expect_invalid(config, "tokens.targets");
  config.unsil.type = "conv";
  config.unsil.warmup = 0;
  EXPECT_NO_THROW(config.validate());
  config.unsil.warmup = 1;
  expect_invalid(config, "tokens.targets");
  config = tiny_loupe("conv");
  config.tokens = {.weight = 0};
  expect_invalid(config, "unsil.type");
  config = tiny_loupe("conv", "both");
  config.phrases = {.weight = 0};
  expect_invalid(config, "unsil.level");
  config = tiny_loupe();
  config.phrases.fewest = 5;  // of 4 that play
  expect_invalid(config, "phrases.fewest");
}

/// What was changed is refused under its own name, and accepted at its default.
void expect_idle(const LoupeConfig& base, const std::string& key, const std::function<void(LoupeConfig&)>& change) {
  EXPECT_NO_THROW(base.validate()) << key;
  auto config = base;
  change(config);
  expect_invalid(config, key);
}

TEST(Loupe, KeysThatMeanNothingAreRefused) {
  EXPECT_NO_THROW(tiny_loupe("transformer", "both").validate());
  auto config = tiny_loupe();
  expect_idle(config, "phrases.samples", [](auto& c) { c.phrases.samples = 7; });
  config.phrases.value = "sampled";
  config.phrases.samples = 7;
  EXPECT_NO_THROW(config.validate());
  config = tiny_loupe("conv");
  expect_idle(config, "phrases.targets", [](auto& c) { c.phrases.targets = 7; });
  expect_idle(config, "unsil.heads", [](auto& c) { c.unsil.heads = 2; });
  config.unsil.labels = "raw";
  expect_idle(config, "unsil.moments_decay", [](auto& c) { c.unsil.moments_decay = 0.9; });
}

TEST(Loupe, KeysOfANetworkThatIsNotThereAreRefused) {
  const LoupeConfig none = tiny_loupe();
  expect_idle(none, "unsil.level", [](auto& c) { c.unsil.level = "both"; });
  expect_idle(none, "unsil.heads", [](auto& c) { c.unsil.heads = 2; });
  expect_idle(none, "unsil.warmup", [](auto& c) { c.unsil.warmup = 5; });
  expect_idle(none, "unsil.weight", [](auto& c) { c.unsil.weight = 2; });
  expect_idle(none, "unsil.beta1", [](auto& c) { c.unsil.beta1 = 2; });
  expect_idle(none, "unsil.beta2", [](auto& c) { c.unsil.beta2 = 2; });
  expect_idle(none, "unsil.floor", [](auto& c) { c.unsil.floor = 0.1; });
  expect_idle(none, "unsil.labels", [](auto& c) { c.unsil.labels = "raw"; });
  expect_idle(none, "unsil.moments_decay", [](auto& c) { c.unsil.moments_decay = 0.9; });
}

TEST(Loupe, KeysOfALevelThatIsLeftOutAreRefused) {
  auto config = tiny_loupe();
  config.tokens = {.weight = 0};
  expect_idle(config, "tokens.coalitions", [](auto& c) { c.tokens.coalitions = 4; });
  expect_idle(config, "tokens.sampler", [](auto& c) { c.tokens.sampler = "naive"; });
  expect_idle(config, "tokens.compute", [](auto& c) { c.tokens.compute = "bf16"; });
  config = tiny_loupe();
  config.phrases = {.weight = 0};
  expect_idle(config, "phrases.temperature", [](auto& c) { c.phrases.temperature = 1; });
  expect_idle(config, "phrases.fewest", [](auto& c) { c.phrases.fewest = 1; });
  expect_idle(config, "phrases.label", [](auto& c) { c.phrases.label = "sigmoid"; });
  EXPECT_EQ(config.regions.count, 3) << "the other level has regions";
  config.tokens = {.weight = 0};
  config.regions = {};
  expect_idle(config, "regions.count", [](auto& c) { c.regions.count = 200; });
  expect_idle(config, "regions.membership", [](auto& c) { c.regions.membership = "hard"; });
  expect_idle(config, "mean", [](auto& c) { c.mean = "rank"; });
}

}  // namespace
}  // namespace triptych

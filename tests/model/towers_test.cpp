// The towers against golden numbers and against the operations that they replace.
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/causal_transformer.h"
#include "core/model/image_preprocess.h"
#include "core/model/vit.h"
#include "core/module/autocast.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

TEST(EndPositions, FirstPositionOfTheLargestId) {
  const at::Tensor tokens = at::tensor({5, 9, 9, 9, 5, 1, 9, 0, 9, 0, 0, 0, 3, 3, 3, 3}, at::kLong).view({4, 4});
  EXPECT_TRUE(at::equal(end_positions(tokens), at::tensor({1, 2, 0, 0}, at::kLong)));
}

TEST(EndPositions, FirstPositionOfTheEndTokenThatIsNamed) {
  const at::Tensor tokens = at::tensor({5, 9, 3, 9, 3, 1, 9, 0, 9, 8, 7, 6}, at::kLong).view({3, 4});
  EXPECT_TRUE(at::equal(end_positions(tokens, 3), at::tensor({2, 0, 3}, at::kLong)));  // no end: the last position
}

TEST(EndPositions, FollowFromTheTokenizer) {
  EXPECT_FALSE(end_token({.tokenizer = "clip_bpe"}));
  EXPECT_EQ(end_token({.tokenizer = "bert_wordpiece"}), 102);
  EXPECT_EQ(vocabulary_size({.tokenizer = "clip_bpe"}), 49408);
  EXPECT_EQ(vocabulary_size({.tokenizer = "bert_wordpiece"}), 30522);
}

/// UniCL's name of a parameter in the golden file.
std::string unicl_name(const std::string& name) {
  if (name == "text_projection") return name;
  const std::string blocks = "transformer.";
  return "text_encoder." + (name.starts_with(blocks) ? name.substr(blocks.size()) : name);
}

TEST(CausalTransformer, UniclTextTowerIsGolden) {
  const Golden golden("unicl_encoders");
  const auto noise =
      nlohmann::json::parse(std::ifstream(source_path("tests/golden/unicl_encoders.json")))["fp32_noise"]["values"];
  CausalTransformerConfig config;
  config.context = 12;
  config.width = 24;
  config.depth = 2;
  config.heads = 3;
  config.vocabulary = 60;
  config.activation = "quick_gelu";
  config.norm_eps = 1e-12;
  CausalTransformer tower(config, 20, Initializer(1));
  {
    const c10::NoGradGuard no_grad;
    for (auto& [name, parameter] : tower.parameters()) parameter.copy_(golden["param." + unicl_name(name)]);
  }
  const at::Tensor raw = tower.forward(golden["in.input_ids"]);
  const at::Tensor text = unit(raw), image = golden["out.image_features"];
  EXPECT_LT(difference(raw, golden["out.text_features_unnormalised"]),
            10 * noise["out.text_features_unnormalised"].get<double>());
  EXPECT_LT(difference(text, golden["out.text_features"]), 10 * noise["out.text_features"].get<double>());

  const at::Tensor logits = golden["out.scale"] * image.matmul(text.t());
  EXPECT_LT(difference(logits, golden["out.logits"]), 10 * noise["out.logits"].get<double>());
  const at::Tensor scalar = (golden["in.weight_logits"] * logits.log_softmax(1)).sum() +
                            (golden["in.weight_image"] * image).sum() + (golden["in.weight_text"] * text).sum();
  EXPECT_LT(difference(scalar, golden["out.scalar"]), 10 * noise["out.scalar"].get<double>());
  scalar.backward();
  for (const auto& [name, parameter] : tower.parameters()) {
    const at::Tensor expected = golden["grad." + unicl_name(name)];
    const double bound =
        std::max(10 * noise.value("grad." + unicl_name(name), 0.0), 1e-6 * expected.abs().max().item<double>());
    EXPECT_LT(difference(parameter.grad(), expected), bound) << name;
  }
}

CausalTransformerConfig small_text() {
  CausalTransformerConfig config;
  config.context = 9;
  config.width = 8;
  config.depth = 2;
  config.heads = 2;
  config.vocabulary = 30;
  return config;
}

TEST(CausalTransformer, WhatFollowsTheEndTokenDoesNotMatter) {
  CausalTransformer tower(small_text(), 5, Initializer(2));
  tower.to(at::kCPU, at::kDouble);
  at::Tensor tokens = at::tensor({1, 4, 29, 0, 0, 0, 0, 0, 0, 1, 4, 5, 6, 7, 29, 0, 0, 0}, at::kLong).view({2, 9});
  const at::Tensor expected = tower.forward(tokens);
  at::Tensor other = tokens.clone();
  other[0].narrow(0, 3, 6).fill_(29);
  other[1].narrow(0, 7, 2).copy_(at::tensor({3, 8}, at::kLong));
  EXPECT_LT(difference(tower.forward(other), expected), 1e-14);
  // Cut to a row of its own, the short text is shorter: the same numbers.
  EXPECT_LT(difference(tower.forward(tokens.narrow(0, 0, 1)), expected.narrow(0, 0, 1)), 1e-14);
  other[0][1] = 9;  // in front of the end token it does
  EXPECT_GT(difference(tower.forward(other), expected), 1e-6);
}

TEST(CausalTransformer, RowsOfAllLengthsComeOutInTheirOrder) {
  CausalTransformer tower(small_text(), 5, Initializer(2));
  tower.to(at::kCPU, at::kDouble);
  at::Tensor tokens = at::randint(1, 29, {100, 9}, at::kLong);  // more rows than a group holds
  for (std::int64_t row = 0; row < 100; ++row) tokens[row].narrow(0, 1 + row * 7 % 8, 8 - row * 7 % 8).fill_(29);
  const at::Tensor together = tower.forward(tokens), weights = draw({3}, together.sizes());
  (together * weights).sum().backward();
  const at::Tensor gradient = tower.parameters()[0].tensor.grad().clone();
  tower.parameters()[0].tensor.mutable_grad() = at::Tensor();
  std::vector<at::Tensor> alone;
  for (std::int64_t row = 0; row < 100; ++row) alone.push_back(tower.forward(tokens.narrow(0, row, 1)));
  (at::cat(alone) * weights).sum().backward();
  EXPECT_LT(difference(together, at::cat(alone)), 1e-13);
  // A sum over 100 rows in another order: the bound follows the largest entry (about 700, whose ulp is 1.1e-13).
  EXPECT_LT(difference(gradient, tower.parameters()[0].tensor.grad()), 1e-14 * gradient.abs().max().item<double>());
}

/// Blocks that run again in backward see the rows of their own group.
TEST(CausalTransformer, GroupsRunAgainAsTheyRan) {
  const at::Tensor tokens = at::randint(1, 29, {40, 9}, at::kLong);
  const auto gradient = [&](bool recompute) {
    auto config = small_text();
    config.length_groups = 8;
    CausalTransformer tower(config, 5, Initializer(2));
    ForwardScope scope;
    scope.recompute = recompute;
    const at::Tensor out = tower.forward(tokens, scope);
    (out * draw({3}, out.sizes())).sum().backward();
    return tower.parameters()[0].tensor.grad().clone();
  };
  EXPECT_TRUE(gradient(true).equal(gradient(false)));
}

/// Groups must not add their gradients in bfloat16.
TEST(CausalTransformer, GroupsMeetInFullPrecision) {
  const at::Tensor tokens = at::randint(1, 29, {96, 9}, at::kLong);
  const auto gradient = [&](bool narrow, std::int64_t group) {
    auto config = small_text();
    config.length_groups = group;
    CausalTransformer tower(config, 5, Initializer(2));
    at::Tensor out;
    {
      const AutocastScope autocast(at::kCPU, at::kFloat, narrow ? at::kBFloat16 : at::kFloat);
      out = tower.forward(tokens);
    }
    (out * draw({3}, out.sizes())).sum().backward();
    for (const auto& [name, tensor] : tower.parameters())
      if (name == "transformer.resblocks.0.mlp.c_fc.weight") return tensor.grad().clone();
    return at::Tensor();
  };
  const at::Tensor exact = gradient(false, 96);
  const double one_group = difference(gradient(true, 96), exact), many = difference(gradient(true, 2), exact);
  EXPECT_LT(many, 1.5 * one_group);
}

TEST(CausalTransformer, RefusesAnotherContext) {
  const CausalTransformer tower(small_text(), 5, Initializer(2));
  EXPECT_THROW(tower.forward(at::zeros({2, 8}, at::kLong)), c10::Error);
  EXPECT_THROW(tower.forward(at::zeros({2, 9})), c10::Error);
}

VitConfig small_vit(double drop_path = 0) {
  VitConfig config;
  config.image_size = 12;
  config.patch_size = 4;
  config.width = 8;
  config.depth = 3;
  config.heads = 2;
  config.drop_path = drop_path;
  return config;
}

/// The ViT spelled with a convolution and plain attention.
at::Tensor plain_vit(const VisionTransformer& tower, const at::Tensor& pixels) {
  std::map<std::string, at::Tensor> p;
  for (const auto& [name, tensor] : tower.parameters()) p[name] = tensor;
  const auto norm = [&](const at::Tensor& x, const std::string& name) {
    return at::layer_norm(x, {8}, p.at(name + ".weight"), p.at(name + ".bias"), 1e-5);
  };
  at::Tensor x = at::conv2d(pixels, p.at("conv1.weight"), {}, 4).flatten(2).transpose(1, 2);
  x = at::cat({p.at("class_embedding").expand({pixels.size(0), 1, 8}), x}, 1) + p.at("positional_embedding");
  x = norm(x, "ln_pre");
  for (int i = 0; i < 3; ++i) {
    const std::string block = "transformer.resblocks." + std::to_string(i) + ".";
    const auto linear = [&](const at::Tensor& value, const std::string& name) {
      return value.matmul(p.at(block + name + ".weight").t()) + p.at(block + name + ".bias");
    };
    const at::Tensor packed =
        norm(x, block + "ln_1").matmul(p.at(block + "attn.in_proj_weight").t()) + p.at(block + "attn.in_proj_bias");
    std::vector<at::Tensor> heads;
    for (int h = 0; h < 2; ++h) {
      const auto part = [&](int which) { return packed.narrow(2, which * 8 + h * 4, 4); };
      heads.push_back((part(0).matmul(part(1).transpose(1, 2)) / 2).softmax(2).matmul(part(2)));
    }
    x = x + linear(at::cat(heads, 2), "attn.out_proj");
    x = x + linear(at::gelu(linear(norm(x, block + "ln_2"), "mlp.c_fc")), "mlp.c_proj");
  }
  return norm(x.select(1, 0), "ln_post").matmul(p.at("proj"));
}

TEST(VisionTransformer, AgreesWithConvolutionAndPlainAttention) {
  VisionTransformer tower(small_vit(), 5, Initializer(4));
  tower.to(at::kCPU, at::kDouble);
  {
    const c10::NoGradGuard no_grad;  // biases and norms that are not 0 and 1
    std::uint64_t key = 0;
    for (auto& [name, tensor] : tower.parameters()) tensor.add_(draw({50, key++}, tensor.sizes()), 0.1);
  }
  const at::Tensor pixels = draw({1}, {3, 3, 12, 12});
  const at::Tensor ours = tower.project(tower.features(pixels, {}));
  const at::Tensor weights = draw({2}, ours.sizes());
  (ours * weights).sum().backward();
  std::vector<at::Tensor> gradients;
  for (const auto& [name, tensor] : tower.parameters()) gradients.push_back(tensor.grad().clone());
  for (const auto& [name, tensor] : tower.parameters()) tensor.mutable_grad() = at::Tensor();
  const at::Tensor plain = plain_vit(tower, pixels);
  (plain * weights).sum().backward();
  EXPECT_LT(difference(ours, plain), 1e-12);
  std::size_t i = 0;
  for (const auto& [name, tensor] : tower.parameters())
    EXPECT_LT(difference(gradients[i++], tensor.grad()), 1e-11) << name;
}

TEST(VisionTransformer, DropPathActsWhileTrainingOnly) {
  VisionTransformer tower(small_vit(0.8), std::nullopt, Initializer(4));
  const at::Tensor pixels = draw({1}, {6, 3, 12, 12}).to(at::kFloat);
  const at::Tensor trained = tower.features(pixels, {.draws = keyed_generator(1, at::kCPU)});
  EXPECT_TRUE(at::equal(trained, tower.features(pixels, {.draws = keyed_generator(1, at::kCPU)})));
  EXPECT_GT(difference(trained, tower.features(pixels, {.draws = keyed_generator(2, at::kCPU)})), 1e-3);
  tower.set_training(false);
  EXPECT_GT(difference(trained, tower.features(pixels, {})), 1e-3);
  EXPECT_EQ(tower.parameters().size(), VisionTransformer(small_vit(), 5, Initializer(4)).parameters().size() - 1);
  EXPECT_THROW(tower.project(trained), c10::Error);
  EXPECT_THROW(tower.features(pixels.narrow(2, 0, 8), {}), c10::Error);
}

TEST(ImagePreprocess, NormalisesBytesAndPassesFloats) {
  CorpusFacts facts;
  facts.pixel_mean = {0.5, 0.25, 0};
  facts.pixel_std = {0.5, 1, 2};
  at::Tensor images = at::zeros({1, 1, 2, 3}, at::kByte);
  images[0][0][1].copy_(at::tensor({255, 51, 204}, at::kByte));
  const at::Tensor pixels = normalise_images(images, facts, at::kDouble);
  ASSERT_EQ(pixels.sizes(), (std::vector<std::int64_t>{1, 3, 1, 2}));
  EXPECT_LT(difference(pixels.select(3, 0).flatten(), at::tensor({-1.0, -0.25, 0.0}, at::kDouble)), 1e-12);
  EXPECT_LT(difference(pixels.select(3, 1).flatten(), at::tensor({1.0, -0.05, 0.4}, at::kDouble)), 1e-12);
  const at::Tensor floats = draw({1}, {2, 4, 4, 3});
  EXPECT_TRUE(at::equal(normalise_images(floats, facts, at::kDouble), floats.permute({0, 3, 1, 2})));
  EXPECT_THROW(normalise_images(at::zeros({1, 2, 2, 4}, at::kByte), facts, at::kFloat), c10::Error);
  EXPECT_THROW(normalise_images(at::zeros({1, 2, 2, 3}, at::kInt), facts, at::kFloat), c10::Error);
}

/// The end of TCL's chain: to tensor and normalise, by CLIP's statistics.
TEST(ImagePreprocess, GoldenOfTorchvision) {
  const Golden golden("tcl_augment");
  CorpusFacts facts;
  facts.pixel_mean = {0.48145466F, 0.4578275F, 0.40821073F};
  facts.pixel_std = {0.26862954F, 0.26130258F, 0.27577711F};
  const at::Tensor expected = golden["chain.tensor"].unsqueeze(0), images = golden["vivid.ra.Rotate_plus"].unsqueeze(0);
  EXPECT_LT(difference(normalise_images(images, facts, at::kDouble), expected), 1e-6);
  EXPECT_LT(difference(normalise_images(images, facts, at::kFloat), expected), 2e-6);
}

/// One pass over the bytes rounds as the tensor operations do.
TEST(ImagePreprocess, BytesInOnePassAreTheTensorOperationsBitForBit) {
  CorpusFacts facts;
  facts.pixel_mean = {0.48145466F, 0.4578275F, 0.40821073F};
  facts.pixel_std = {0.26862954F, 0.26130258F, 0.27577711F};
  const at::Tensor images = at::arange(2 * 256 * 3 * 3, at::kLong).remainder(256).to(at::kByte).view({2, 256, 3, 3});
  const auto each = [](const at::Tensor& values) { return values.view({1, 3, 1, 1}); };
  const at::Tensor mean = at::tensor(facts.pixel_mean, at::kFloat), deviation = at::tensor(facts.pixel_std, at::kFloat);
  const at::Tensor expected =
      images.permute({0, 3, 1, 2}).to(at::kFloat).mul(each(1 / (255 * deviation))).sub(each(mean / deviation));
  EXPECT_TRUE(at::equal(normalise_images(images, facts, at::kFloat), expected));
}

}  // namespace
}  // namespace triptych

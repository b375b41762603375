// Rules by name: patterns, factors by layer, and what a frozen tower does to a step.
#include "core/train/parameter_rules.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "core/base/errors.h"
#include "core/objective/objective_table.h"
#include "core/train/trainer.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using testing::HasSubstr;

TEST(ParameterRules, Patterns) {
  for (const auto& [pattern, matches] : std::map<std::string, bool>{{"visual.*", true},
                                                                    {"*", true},
                                                                    {"**bias", true},
                                                                    {"visual.ln_post.bias", true},
                                                                    {"*.ln_*.b*s", true},
                                                                    {"visual", false},
                                                                    {"*.weight", false},
                                                                    {"visual.*.bias.*", false},
                                                                    {"", false}}) {
    EXPECT_EQ(matches_name("visual.ln_post.bias", pattern), matches) << pattern;
  }
  EXPECT_TRUE(matches_name("aabab", "a*ab"));
}

TEST(ParameterRules, FactorsOfLayersAndOfNames) {
  OptimizerConfig config;
  config.layer_decay = 0.5;
  config.lr_factors = {{"visual.*", 0.1}, {"*.bias", 3}};
  const std::vector<std::pair<std::string, double>> expected = {
      {"visual.class_embedding", 0.1 / 8},
      {"visual.conv1.weight", 0.1 / 8},
      {"visual.transformer.resblocks.0.attn.in_proj_weight", 0.1 / 4},
      {"visual.transformer.resblocks.1.mlp.c_fc.bias", 0.3 / 2},
      {"visual.ln_post.weight", 0.1},
      {"visual.proj", 0.1},
      {"token_embedding.weight", 1.0 / 4},
      {"transformer.resblocks.0.ln_1.weight", 1.0 / 2},
      {"text_projection", 1},
      {"logit_scale", 1}};
  std::vector<std::string> names;
  for (const auto& [name, factor] : expected) names.push_back(name);
  const auto rules = parameter_rules(config, names);
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_DOUBLE_EQ(rules[i].lr_factor, expected[i].second) << names[i];
}

TEST(ParameterRules, LayersOfEveryArchitecture) {
  OptimizerConfig config;
  config.layer_decay = 0.5;
  const std::vector<std::pair<std::string, double>> expected = {
      // Swin: two stages of two and one block, and the merging between them
      {"visual.patch_embed.proj.weight", 1.0 / 16},
      {"visual.layers.0.blocks.0.attn.qkv.weight", 1.0 / 8},
      {"visual.layers.0.blocks.1.mlp.fc1.bias", 1.0 / 4},
      {"visual.layers.0.downsample.reduction.weight", 1.0 / 4},
      {"visual.layers.1.blocks.0.norm1.weight", 1.0 / 2},
      {"visual.norm.weight", 1},
      // BERT of two layers
      {"embeddings.word_embeddings.weight", 1.0 / 8},
      {"encoder.layer.0.attention.self.query.weight", 1.0 / 4},
      {"encoder.layer.1.output.LayerNorm.bias", 1.0 / 2},
      {"text_projection", 1}};
  std::vector<std::string> names;
  for (const auto& [name, factor] : expected) names.push_back(name);
  const auto rules = parameter_rules(config, names);
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_DOUBLE_EQ(rules[i].lr_factor, expected[i].second) << names[i];
  const auto resnet = parameter_rules(config, {"visual.conv1.weight", "visual.bn1.bias", "visual.layer1.0.conv1.weight",
                                               "visual.layer1.0.downsample.1.weight", "visual.layer2.0.bn3.weight",
                                               "visual.attnpool.positional_embedding"});
  const std::vector<double> factors = {1.0 / 8, 1.0 / 8, 1.0 / 4, 1.0 / 4, 1.0 / 2, 1};
  for (std::size_t i = 0; i < factors.size(); ++i) EXPECT_DOUBLE_EQ(resnet[i].lr_factor, factors[i]) << i;
}

TEST(ParameterRules, WhatMatchesNothingIsRefused) {
  const std::vector<std::string> names = {"visual.proj", "logit_scale"};
  const auto message = [&](const OptimizerConfig& config) {
    try {
      parameter_rules(config, names);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  OptimizerConfig config;
  config.freeze = {"visual.*", "visul.*"};
  EXPECT_THAT(message(config), HasSubstr("optimizer.freeze.1: no parameter is called 'visul.*'"));
  config.freeze = {"*"};
  EXPECT_THAT(message(config), HasSubstr("nothing is left to train"));
  config.freeze = {};
  config.lr_factors = {{"head.*", 2}};
  EXPECT_THAT(message(config), HasSubstr("optimizer.lr_factors.0.match"));
}

TrainConfig small_run() {
  TrainConfig config;
  config.model.image = VitConfig{.image_size = 8, .patch_size = 4, .width = 8, .depth = 1, .heads = 2};
  config.model.text = CausalTransformerConfig{.context = 6, .width = 8, .depth = 1, .heads = 2, .vocabulary = 30};
  config.model.embed_dim = 6;
  config.train.global_batch = 8;
  config.optimizer.weight_decay = 0;
  config.schedule.total = steps(20);
  config.schedule.warmup = steps(0);
  return config;
}

std::vector<Batch> small_batches(int rank) {
  std::vector<Batch> batches;
  for (int part = 0; part < 2; ++part) {
    Batch batch;
    batch.images = draw({static_cast<std::uint64_t>(rank * 2 + part)}, {2, 1, 8, 8, 3}).to(at::kFloat);
    batch.tokens = at::ones({2, 1, 6}, at::kLong);
    for (std::int64_t row = 0; row < 2; ++row) batch.tokens[row][0][1] = 2 + row + 4 * rank + 2 * part;
    batch.tokens.select(2, 3).fill_(29);
    batch.labels = at::full({2}, kNoLabel, at::kLong);
    batch.sample_ids = at::arange(2, at::kLong);
    batch.first_position = 4 * rank + 2 * part;
    batches.push_back(batch);
  }
  return batches;
}

/// How far one step of two ranks moves each parameter, as a mean of magnitudes.
std::map<std::string, double> moves_of_a_step(const TrainConfig& config) {
  std::map<std::string, double> moves;
  run_ranks(2, [&](Collectives& comm) {
    auto objective = make_objective(config.objective, config.model, {}, {});
    std::map<std::string, at::Tensor> before;
    for (const auto& [name, tensor] : objective->module().parameters()) before[name] = tensor.detach().clone();
    Trainer trainer(config, plan_steps(config, 2, 100), *objective, comm);
    trainer.step(small_batches(comm.rank()));
    if (comm.rank() != 0) return;
    for (const auto& [name, tensor] : objective->module().parameters())
      moves[name] = (tensor.detach() - before[name]).abs().mean().item<double>();
  });
  return moves;
}

TEST(ParameterRules, AFrozenTowerStaysAndTheOtherMovesAsBefore) {
  auto config = small_run();
  const auto free = moves_of_a_step(config);
  config.optimizer.freeze = {"visual.*", "logit_scale"};
  const auto locked = moves_of_a_step(config);
  for (const auto& [name, move] : free) {
    if (name.starts_with("visual.") || name == "logit_scale") {
      EXPECT_GT(move, 0) << name;
      EXPECT_EQ(locked.at(name), 0) << name;
    } else {
      EXPECT_EQ(locked.at(name), move) << name;
    }
  }
}

TEST(ParameterRules, FactorsScaleTheFirstMove) {
  auto config = small_run();
  const auto plain = moves_of_a_step(config);
  config.optimizer.lr_factors = {{"visual.*", 0.25}};
  const auto slow = moves_of_a_step(config);
  EXPECT_NEAR(slow.at("visual.proj"), plain.at("visual.proj") / 4, 1e-3 * plain.at("visual.proj"));
  EXPECT_EQ(slow.at("text_projection"), plain.at("text_projection"));
}

}  // namespace
}  // namespace triptych

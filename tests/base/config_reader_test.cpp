// The strict reader on good input, and the dump that reads back bit by bit. What is refused: broken_config_test.cpp.
#include "core/base/config_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/base/atomic_file.h"
#include "tests/base/example_config.h"
#include "tests/support/property.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using example::Config;
using testing::ElementsAre;
using testing::IsEmpty;

Config read(const std::string& text) {
  return parse_config<Config>(text, "a.yaml");
}

TEST(ConfigReader, ReadsEveryType) {
  const auto config = read(R"(
run_name: first try
data:
  corpora:
    - {name: a, path: "x/*.tar", caption_keys: [txt, json], weight: 2}
    - {name: b, kind: image_label, path: y}
  shuffle: {window: 10, full: true}
  scale: [0.5, 1]
  workers: 4
model: {image: {type: swin, window: 5}, embed_dim: 64}
objective: {name: loupe, temperature: 5e-2}
optimizer: {lr: 1e-3, betas: [0.8, 0.95]}
schedule: {total: {samples: 1000000}, warmup: {epochs: 0.5}}
keep_best: {metric: eval/knn/top1}
clip_norm: 5
eval:
  - {name: retrieval, every: {steps: 7}}
  - {name: knn, k: 3}
)");
  EXPECT_EQ(config.run_name, "first try");
  ASSERT_EQ(config.data.corpora.size(), 2u);
  EXPECT_EQ(config.data.corpora[0].path, "x/*.tar");
  EXPECT_THAT(config.data.corpora[0].caption_keys, ElementsAre("txt", "json"));
  EXPECT_EQ(config.data.corpora[0].weight, 2);
  EXPECT_EQ(config.data.corpora[1].kind, "image_label");
  EXPECT_THAT(config.data.corpora[1].caption_keys, ElementsAre("txt"));
  EXPECT_EQ(config.data.shuffle.window, 10);
  EXPECT_TRUE(config.data.shuffle.full);
  EXPECT_THAT(config.data.scale, ElementsAre(0.5, 1));
  EXPECT_EQ(config.data.error_budget, 0.01);
  EXPECT_EQ(std::get<example::SwinSection>(config.model.image).window, 5);
  EXPECT_EQ(std::get<example::LoupeSection>(config.objective).temperature, 0.05);
  EXPECT_EQ(config.schedule.total, samples(1e6));
  EXPECT_EQ(config.schedule.warmup, epochs(0.5));
  ASSERT_TRUE(config.keep_best);
  EXPECT_EQ(config.keep_best->metric, "eval/knn/top1");
  EXPECT_EQ(config.clip_norm, 5.0);
  ASSERT_EQ(config.eval.size(), 2u);
  EXPECT_EQ(std::get<example::EvalRetrieval>(config.eval[0]).every, steps(7));
  EXPECT_EQ(std::get<example::EvalKnn>(config.eval[1]).k, 3);
}

TEST(ConfigReader, WhatIsNotNamedKeepsItsDefault) {
  const auto config = read("");  // as from a file that is empty
  EXPECT_EQ(config_text(config), config_text(Config{}));
  EXPECT_EQ(config_text(read("{}")), config_text(Config{}));
}

TEST(ConfigReader, NullIsNoValueForOptionalFields) {
  const auto config = read("{keep_best: null, clip_norm: ~}");
  EXPECT_FALSE(config.keep_best);
  EXPECT_FALSE(config.clip_norm);
}

TEST(ConfigReader, NumbersAsPeopleWriteThem) {
  for (const auto& [text, value] : std::vector<std::pair<std::string, double>>{
           {"1e-3", 1e-3}, {"0.5", 0.5}, {"10", 10}, {"1E3", 1000}, {"1.5e+2", 150}, {"0.0001", 1e-4}, {"100", 100}}) {
    EXPECT_EQ(*read("clip_norm: " + text).clip_norm, value) << text;
  }
}

TEST(ConfigReader, BareTextMayLookLikeANumber) {
  EXPECT_EQ(read("run_name: 2026").run_name, "2026");
  EXPECT_EQ(read("run_name: 'true'").run_name, "true");
  EXPECT_EQ(read("run_name: ''").run_name, "");
}

TEST(ConfigReader, LoadsLayersAndAssignments) {
  const TempDir folder;
  write_file_atomically(folder / "base.yaml", "optimizer: {lr: 0.5}\nmodel: {image: {type: swin, window: 5}}\n");
  write_file_atomically(folder / "top.yaml", "extends: base.yaml\noptimizer: {eps: 1e-6}\n");
  const auto config = load_config<Config>(folder / "top.yaml", {"model.image.heads=3", "model.image.type=vit",
                                                                "optimizer.eps=1e-7", "model.image.width=9"});
  EXPECT_EQ(config.optimizer.lr, 0.5);
  EXPECT_EQ(config.optimizer.eps, 1e-7);
  EXPECT_EQ(std::get<example::VitSection>(config.model.image).width, 9);
}

TEST(ConfigReader, DumpNamesEveryFieldAndReadsBack) {
  Config config;
  config.run_name = "a: b";
  config.eval = {example::EvalKnn{}, example::EvalRetrieval{}};
  config.data.corpora = {{.name = "x", .path = "a/{00..12}.tar"}};
  config.clip_norm = 0.1 + 0.2;
  const auto text = config_text(config);
  EXPECT_EQ(text, R"(run_name: "a: b"
data:
  corpora:
    - name: x
      kind: image_text
      path: "a/{00..12}.tar"
      caption_keys: [txt]
      weight: 1
  shuffle:
    window: 8192
    full: false
  scale: [0.9, 1]
  workers: 1
  error_budget: 0.01
model:
  image:
    type: vit
    width: 768
    heads: 12
  embed_dim: 512
objective:
  name: unicl
  directions: both
optimizer:
  name: adamw
  lr: 0.001
  eps: 1e-08
  betas: [0.9, 0.98]
schedule:
  total: {epochs: 10}
  warmup: {steps: 0}
keep_best: null
clip_norm: 0.30000000000000004
eval:
  - name: knn
    label: ""
    k: 20
    every: {epochs: 1}
  - name: retrieval
    label: ""
    every: {epochs: 1}
)");
  EXPECT_EQ(config_text(read(text)), text);
}

TEST(ConfigReader, AnyConfigurationReadsBackBitByBit) {
  EXPECT_TRUE(holds("dump, read, dump", [] {
    const auto number = [](double low, double high) {
      std::uint64_t bits = *rc::gen::arbitrary<std::uint64_t>();
      double value = 0;
      std::memcpy(&value, &bits, sizeof value);
      if (!std::isfinite(value)) value = 0.1;
      value = std::abs(value);
      return value > low && value <= high ? value : low + (high - low) / (1 + static_cast<double>(bits % 1000));
    };
    const auto words = rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
    Config config;
    config.run_name = *words;
    for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
      config.data.corpora.push_back({.name = "n" + *words, .path = *words, .weight = number(0, 1e300)});
      config.data.corpora.back().caption_keys.resize(static_cast<std::size_t>(*rc::gen::inRange(0, 3)), *words);
    }
    config.data.scale = {number(0, 1), number(0, 1)};
    config.data.workers = *rc::gen::inRange<std::int64_t>(1, 257);
    config.model.embed_dim = *rc::gen::inRange<std::int64_t>(1, INT64_MAX);
    if (*rc::gen::arbitrary<bool>()) config.objective = example::LoupeSection{number(0, 10)};
    if (*rc::gen::arbitrary<bool>()) config.clip_norm = number(0, 1e300);
    if (*rc::gen::arbitrary<bool>()) config.keep_best = {*words};
    config.optimizer.lr = number(0, 50);
    config.schedule.total = epochs(number(1, 0x1p53));
    const auto text = config_text(config);
    const auto back = parse_config<Config>(text, "dump");
    RC_ASSERT(config_text(back) == text);
    RC_ASSERT(back.optimizer.lr == config.optimizer.lr && back.clip_norm == config.clip_norm);
    RC_ASSERT(back.run_name == config.run_name && back.schedule.total == config.schedule.total);
    RC_ASSERT(back.data.corpora.size() == config.data.corpora.size());
    RC_ASSERT(differences(config_tree(config), parse_yaml(text, "dump")).empty());
  }));
}

TEST(ConfigReader, DifferencesBetweenConfigurations) {
  Config a, b;
  b.optimizer.lr = 0.5;
  b.objective = example::LoupeSection{};
  b.data.workers = 3;
  EXPECT_THAT(
      differences(config_tree(a), config_tree(b)),
      ElementsAre("data.workers", "objective.name", "objective.directions", "objective.temperature", "optimizer.lr"));
  EXPECT_THAT(differences(config_tree(a), config_tree(a)), IsEmpty());
}

}  // namespace
}  // namespace triptych

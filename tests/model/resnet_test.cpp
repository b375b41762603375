// ResNet spelled with torch's own operations; sizes as published.
#include "core/model/resnet.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

ResNetConfig small(const std::string& pool = "average") {
  ResNetConfig config;
  config.image_size = 64;
  config.width = 4;
  config.depths = {2, 1, 1, 1};
  config.pool = pool;
  config.pool_heads = 4;
  return config;
}

/// torchvision's forward over the parameters' names.
at::Tensor plain(const std::map<std::string, at::Tensor>& p, const at::Tensor& pixels) {
  const auto conv = [&](const at::Tensor& x, const std::string& name, std::int64_t stride, std::int64_t padding) {
    return at::conv2d(x, p.at(name + ".weight"), {}, stride, padding);
  };
  const auto norm = [&](const at::Tensor& x, const std::string& name) {
    const auto [variance, mean] = at::var_mean(x, {0, 2, 3}, 0, true);
    return (x - mean) / (variance + 1e-5).sqrt() * p.at(name + ".weight").view({1, -1, 1, 1}) +
           p.at(name + ".bias").view({1, -1, 1, 1});
  };
  at::Tensor x = norm(conv(pixels, "conv1", 2, 3), "bn1").relu();
  x = at::max_pool2d(x, {3, 3}, {2, 2}, {1, 1});
  const std::vector<int> blocks = {2, 1, 1, 1};
  for (int stage = 0; stage < 4; ++stage) {
    for (int i = 0; i < blocks[stage]; ++i) {
      const std::string block = "layer" + std::to_string(stage + 1) + "." + std::to_string(i) + ".";
      const std::int64_t stride = stage > 0 && i == 0 ? 2 : 1;
      at::Tensor y = norm(conv(x, block + "conv1", 1, 0), block + "bn1").relu();
      y = norm(conv(y, block + "conv2", stride, 1), block + "bn2").relu();
      y = norm(conv(y, block + "conv3", 1, 0), block + "bn3");
      if (i == 0) x = norm(conv(x, block + "downsample.0", stride, 0), block + "downsample.1");
      x = (x + y).relu();
    }
  }
  return x;
}

std::map<std::string, at::Tensor> by_name(const Module& module) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : module.parameters()) tensors[name] = tensor;
  return tensors;
}

/// Of all parameters, under a weighted sum of either form of the output.
void expect_same_gradients(const std::map<std::string, at::Tensor>& p, const at::Tensor& ours,
                           const at::Tensor& expected) {
  const at::Tensor weights = draw({2}, ours.sizes());
  (ours * weights).sum().backward();
  std::map<std::string, at::Tensor> gradients;
  for (const auto& [name, tensor] : p) {
    gradients[name] = tensor.grad().clone();
    tensor.mutable_grad() = at::Tensor();
  }
  (expected * weights).sum().backward();
  for (const auto& [name, tensor] : p) {
    const double largest = std::max(1.0, tensor.grad().abs().max().item<double>());
    EXPECT_LT(difference(gradients[name], tensor.grad()), 1e-9 * largest) << name;
  }
}

TEST(ResNet, AgreesWithPlainOperationsAndAveragePool) {
  ResNet tower(small(), 6, Initializer(1));
  tower.to(at::kCPU, at::kDouble);
  const auto p = by_name(tower);
  const at::Tensor pixels = draw({1}, {3, 3, 64, 64});
  const at::Tensor ours = tower.project(tower.features(pixels, {}));
  const at::Tensor expected = plain(p, pixels).mean({2, 3}).matmul(p.at("proj"));
  EXPECT_LT(difference(ours, expected), 1e-10);
  expect_same_gradients(p, ours, expected);
}

TEST(ResNet, AttentionPoolIsClips) {
  ResNet tower(small("attention"), 6, Initializer(1));
  tower.to(at::kCPU, at::kDouble);
  const auto p = by_name(tower);
  const at::Tensor pixels = draw({1}, {2, 3, 64, 64});
  const at::Tensor grid = plain(p, pixels).flatten(2).permute({2, 0, 1});  // [cells, n, width]
  const at::Tensor x = at::cat({grid.mean(0, true), grid}) + p.at("attnpool.positional_embedding").unsqueeze(1);
  const auto linear = [&](const at::Tensor& rows, const std::string& name) {
    return rows.matmul(p.at("attnpool." + name + ".weight").t()) + p.at("attnpool." + name + ".bias");
  };
  const at::Tensor query = linear(x[0], "q_proj"), key = linear(x, "k_proj"), value = linear(x, "v_proj");
  std::vector<at::Tensor> heads;
  for (std::int64_t h = 0; h < 4; ++h) {
    const at::Tensor q = query.narrow(1, h * 32, 32), k = key.narrow(2, h * 32, 32), v = value.narrow(2, h * 32, 32);
    const at::Tensor weights = ((q.unsqueeze(0) * k).sum(2) / std::sqrt(32.0)).softmax(0);  // [cells + 1, n]
    heads.push_back((weights.unsqueeze(2) * v).sum(0));
  }
  const at::Tensor expected = linear(at::cat(heads, 1), "c_proj");
  const at::Tensor ours = tower.project(tower.features(pixels, {}));
  EXPECT_LT(difference(ours, expected), 1e-10);
  expect_same_gradients(p, ours, expected);
}

TEST(ResNet, NumbersOfParametersArePublished) {
  const auto parameters = [](std::vector<std::int64_t> depths) {
    ResNetConfig config;
    config.depths = std::move(depths);
    return ResNet(config, std::nullopt, Initializer(1, "", at::kMeta)).parameter_count();
  };
  EXPECT_EQ(parameters({3, 4, 6, 3}), 25'557'032 - 2'049'000);  // without the classifier of 1,000 classes
  EXPECT_EQ(parameters({3, 4, 23, 3}), 44'549'160 - 2'049'000);
}

}  // namespace
}  // namespace triptych

// Names, order, moves and state of modules; layers; initial values; keyed draws; hashes.
#include "core/module/module.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <map>

#include "core/module/autocast.h"
#include "core/module/layers.h"
#include "core/module/tensor_hash.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

struct Pair : Module {
  explicit Pair(const Initializer& init)
      : left(init.normal("left.weight", {2, 3}, 1)), right(init.normal("right.weight", {2, 2}, 1), false) {
    scale = parameter("scale", at::ones({}));
    count = buffer("count", at::zeros({2}, at::kLong));
    child("left", left);
    child("", right);
  }
  at::Tensor scale, count;
  Linear left, right;
};

std::vector<std::string> names(const std::vector<NamedTensor>& list) {
  std::vector<std::string> result;
  for (const auto& item : list) result.push_back(item.name);
  return result;
}

TEST(Module, NamesAreDepthFirstOwnBeforeChildren) {
  const Pair pair(Initializer(1));
  EXPECT_EQ(names(pair.parameters()), (std::vector<std::string>{"scale", "left.weight", "left.bias", "weight"}));
  EXPECT_EQ(names(pair.buffers()), std::vector<std::string>{"count"});
  EXPECT_EQ(pair.parameter_count(), 1 + 6 + 2 + 4);
}

TEST(Module, MovingKeepsHandles) {
  Pair pair(Initializer(1));
  pair.to(at::kCPU, at::kDouble);
  EXPECT_EQ(pair.scale.scalar_type(), at::kDouble);
  EXPECT_EQ(pair.count.scalar_type(), at::kLong);
  EXPECT_TRUE(pair.scale.requires_grad());
  pair.left.forward(at::ones({1, 3}, at::kDouble)).sum().backward();
  EXPECT_TRUE(pair.parameters()[1].tensor.grad().defined());
}

TEST(Module, ModesReachChildren) {
  Pair pair(Initializer(1));
  pair.set_training(false);
  EXPECT_FALSE(pair.left.training());
  pair.requires_grad(false);
  EXPECT_FALSE(pair.parameters()[2].tensor.requires_grad());
}

TEST(Module, RefusesANameTwice) {
  struct Twice : Module {
    Twice() {
      parameter("a", at::ones({}));
      buffer("a", at::ones({}));
    }
  };
  EXPECT_THROW(Twice(), std::logic_error);
}

struct Collector : StateVisitor {
  std::map<std::string, at::Tensor> seen;
  void tensor(const std::string& name, at::Tensor& tensor) override { seen[name] = tensor; }
  void integer(const std::string&, std::int64_t&) override {}
  void real(const std::string&, double&) override {}
  void text(const std::string&, std::string&) override {}
};

TEST(Module, StateIsParametersAndBuffers) {
  Pair pair(Initializer(1));
  Collector collector;
  pair.visit_state(collector, "model");
  EXPECT_EQ(collector.seen.size(), 5U);
  const c10::NoGradGuard no_grad;
  collector.seen.at("model.scale").fill_(5);  // the visitor's handle is the module's tensor
  EXPECT_EQ(pair.scale.item<float>(), 5);
}

TEST(StateHash, SeesValuesNamesDtypesAndShapes) {
  const auto hash = [](const std::string& name, at::Tensor tensor) {
    StateHash state;
    state.tensor(name, tensor);
    return state.value();
  };
  const at::Tensor a = at::arange(6, at::kFloat);
  EXPECT_EQ(hash("x", a), hash("x", a.clone()));
  EXPECT_NE(hash("x", a), hash("y", a));
  EXPECT_NE(hash("x", a), hash("x", a.view({2, 3})));
  EXPECT_NE(tensor_hash(at::zeros({2}, at::kFloat)), tensor_hash(at::zeros({2}, at::kInt)));
  EXPECT_EQ(tensor_hash(a.view({2, 3}).t()), tensor_hash(a.view({2, 3}).t().contiguous()));
  at::Tensor b = a.clone();
  b[3] = std::nextafter(3.0F, 4.0F);
  EXPECT_NE(tensor_hash(a), tensor_hash(b));
}

TEST(Layers, AgreeWithTheirFormulas) {
  const at::Tensor x = draw({1}, {2, 5}).to(at::kFloat);
  LayerNorm norm(5, 1e-3);
  const at::Tensor centred = x - x.mean(1, true);
  EXPECT_LT(difference(norm.forward(x), centred / (centred.square().mean(1, true) + 1e-3).sqrt()), 1e-6);
  const at::Tensor table = draw({2}, {4, 3}).to(at::kFloat);
  EXPECT_TRUE(at::equal(Embedding(table).forward(at::tensor({3, 0}, at::kLong)), at::stack({table[3], table[0]})));
  const at::Tensor weight = draw({3}, {4, 5}).to(at::kFloat);
  EXPECT_LT(difference(Linear(weight).forward(x), x.matmul(weight.t())), 1e-6);
}

TEST(Initializer, DependsOnSeedAndFullNameOnly) {
  const Initializer init(1);
  EXPECT_TRUE(at::equal((init / "a").normal("w", {4}, 1), init.normal("a.w", {4}, 1)));
  EXPECT_FALSE(at::equal(init.normal("a.w", {4}, 1), init.normal("b.w", {4}, 1)));
  EXPECT_FALSE(at::equal(init.normal("a.w", {4}, 1), Initializer(2).normal("a.w", {4}, 1)));
}

TEST(Initializer, DistributionsHaveTheirMoments) {
  const Initializer init(1);
  const at::Tensor normal = init.normal("n", {200, 500}, 0.3);
  EXPECT_NEAR(normal.mean().item<double>(), 0, 0.005);
  EXPECT_NEAR(normal.std().item<double>(), 0.3, 0.005);
  const at::Tensor cut = init.truncated_normal("t", {200, 500}, 0.5);
  EXPECT_LE(cut.abs().max().item<double>(), 1.0);
  EXPECT_GT(cut.abs().max().item<double>(), 0.98);
  EXPECT_NEAR(cut.std().item<double>(), 0.5 * 0.8796, 0.005);  // deviation of a normal cut at +-2
  const at::Tensor glorot = init.xavier_uniform("x", {200, 500});
  EXPECT_NEAR(glorot.abs().max().item<double>(), std::sqrt(6.0 / 700), 1e-4);
  EXPECT_NEAR(glorot.std().item<double>(), std::sqrt(2.0 / 700), 1e-3);
}

TEST(KeyedRandom, SameKeySameMask) {
  const at::Tensor x = at::ones({100, 20});
  const auto mask = [&](std::uint64_t key) { return keyed_dropout(x, 0.25, keyed_generator(key, at::kCPU)); };
  EXPECT_TRUE(at::equal(mask(1), mask(1)));
  EXPECT_FALSE(at::equal(mask(1), mask(2)));
  EXPECT_NEAR(mask(1).mean().item<double>(), 1, 0.05);
  EXPECT_NEAR((mask(1) == 0).to(at::kFloat).mean().item<double>(), 0.25, 0.03);
  EXPECT_TRUE(at::equal(keyed_dropout(x, 0, at::Generator()), x));
  EXPECT_THROW(keyed_dropout(x, 0.5, at::Generator()), c10::Error);
}

TEST(KeyedRandom, DropPathTakesWholeRows) {
  const at::Tensor dropped = drop_path(at::ones({400, 3, 2}), 0.5, keyed_generator(7, at::kCPU));
  const at::Tensor row = dropped.select(1, 0).select(1, 0);
  EXPECT_TRUE(at::equal(dropped, row.view({400, 1, 1}).expand({400, 3, 2})));
  EXPECT_TRUE(((row == 0) | (row == 2)).all().item<bool>());
  EXPECT_NEAR(row.mean().item<double>(), 1, 0.15);
}

TEST(KeyedRandom, DefaultGeneratorIsNotDrawnFrom) {
  const at::Tensor before = at::detail::getDefaultCPUGenerator().get_state().clone();
  Initializer(1).truncated_normal("t", {10}, 1);
  drop_path(at::ones({4, 2}), 0.5, keyed_generator(7, at::kCPU));
  EXPECT_TRUE(at::equal(before, at::detail::getDefaultCPUGenerator().get_state()));
}

TEST(Autocast, ActsInsideItsScopeOnly) {
  const at::Tensor x = at::ones({2, 3}), weight = at::ones({4, 3});
  {
    const AutocastScope same(at::kCPU, at::kFloat, at::kFloat);
    EXPECT_EQ(at::linear(x, weight).scalar_type(), at::kFloat);
    const AutocastScope half(at::kCPU, at::kFloat, at::kBFloat16);
    EXPECT_EQ(at::linear(x, weight).scalar_type(), at::kBFloat16);
  }
  EXPECT_EQ(at::linear(x, weight).scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace triptych

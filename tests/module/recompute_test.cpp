// A block that runs again in backward gives the same gradients, draws and autocast included, and keeps less.
#include "core/module/recompute.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/module/autocast.h"
#include "core/module/keyed_random.h"
#include "core/module/layers.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

struct Block : Module {
  Linear in, out;
  mutable int runs = 0;
  Block() : in(draw({1}, {16, 8}).to(at::kFloat)), out(draw({2}, {8, 16}).to(at::kFloat)) {
    child("in", in);
    child("out", out);
  }
  at::Tensor forward(const at::Tensor& x, const ForwardScope& scope) const {
    ++runs;
    return x + keyed_dropout(out.forward(at::gelu(in.forward(x))), 0.5, scope.draws);
  }
};

struct Result {
  at::Tensor value, x_grad;
  std::vector<at::Tensor> gradients;
  int runs;
};

Result run(bool recompute, bool autocast, bool x_needs_gradient = true) {
  Block first, second;
  const at::Tensor x = draw({3}, {4, 8}).to(at::kFloat).set_requires_grad(x_needs_gradient);
  const ForwardScope scope{.draws = keyed_generator(11, at::kCPU), .recompute = recompute};
  at::Tensor value;
  {
    const AutocastScope narrow(at::kCPU, at::kFloat, autocast ? at::kBFloat16 : at::kFloat);
    value = x;
    for (const Block* block : {&first, &second}) {  // the draws go on from one to the next
      value = recomputed(*block, {value}, scope, [block](const auto& inputs, const ForwardScope& inner) {
        return block->forward(inputs[0], inner);
      });
    }
  }
  (value * draw({4}, value.sizes())).sum().backward();
  Result result{value.detach(), x.grad(), {}, first.runs + second.runs};
  for (const Block* block : {&first, &second})
    for (const auto& [name, tensor] : block->parameters()) result.gradients.push_back(tensor.grad());
  return result;
}

TEST(Recompute, GivesTheSameBits) {
  for (const bool autocast : {false, true}) {
    const Result kept = run(false, autocast), again = run(true, autocast);
    EXPECT_EQ(kept.runs, 2);
    EXPECT_EQ(again.runs, 4);
    EXPECT_TRUE(at::equal(kept.value, again.value));
    EXPECT_TRUE(at::equal(kept.x_grad, again.x_grad));
    for (std::size_t i = 0; i < kept.gradients.size(); ++i)
      EXPECT_TRUE(at::equal(kept.gradients[i], again.gradients[i])) << i << " autocast " << autocast;
  }
}

TEST(Recompute, ParametersGetGradientsAlsoWhereTheInputNeedsNone) {
  const Result kept = run(false, false, false), again = run(true, false, false);
  EXPECT_FALSE(again.x_grad.defined());
  for (std::size_t i = 0; i < kept.gradients.size(); ++i)
    EXPECT_TRUE(at::equal(kept.gradients[i], again.gradients[i])) << i;
}

TEST(Recompute, AFrozenParameterStaysWithoutGradient) {
  Block block;
  block.in.requires_grad(false);
  const at::Tensor x = draw({3}, {4, 8}).to(at::kFloat).set_requires_grad(true);
  const ForwardScope scope{.draws = keyed_generator(11, at::kCPU), .recompute = true};
  recomputed(block, {x}, scope,
             [&](const auto& inputs, const ForwardScope& inner) { return block.forward(inputs[0], inner); })
      .sum()
      .backward();
  EXPECT_FALSE(block.in.parameters()[0].tensor.grad().defined());
  EXPECT_TRUE(block.out.parameters()[0].tensor.grad().defined());
}

}  // namespace
}  // namespace triptych

// Every path of attention gives the same numbers.
#include "core/module/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

at::Tensor plain(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionForm& form) {
  at::Tensor scores = q.matmul(k.transpose(-2, -1)) / std::sqrt(static_cast<double>(q.size(-1)));
  if (form.bias.defined()) scores = scores + form.bias;
  if (form.causal)
    scores = scores + at::full({q.size(-2), k.size(-2)}, -std::numeric_limits<double>::infinity(), at::kDouble).triu(1);
  return scores.softmax(-1).matmul(v);
}

TEST(Attention, PathsAgreeWithTheFormula) {
  const at::Tensor q = draw({1}, {2, 3, 7, 4}), k = draw({2}, {2, 3, 7, 4}), v = draw({3}, {2, 3, 7, 4});
  for (const auto& form :
       {AttentionForm{}, AttentionForm{.causal = true}, AttentionForm{.causal = false, .bias = draw({4}, {3, 7, 7})}}) {
    for (const auto path : {AttentionPath::kRule, AttentionPath::kPlain, AttentionPath::kFused}) {
      const std::vector<at::Tensor> ours = {leaf(q), leaf(k), leaf(v)}, theirs = {leaf(q), leaf(k), leaf(v)};
      const at::Tensor a = attend(ours[0], ours[1], ours[2], form, {.attention = path});
      const at::Tensor b = plain(theirs[0], theirs[1], theirs[2], form);
      EXPECT_LT(difference(a, b), 1e-13);
      a.square().sum().backward();
      b.square().sum().backward();
      for (int i = 0; i < 3; ++i) EXPECT_LT(difference(ours[i].grad(), theirs[i].grad()), 1e-12);
    }
  }
}

TEST(Attention, ALearntBiasGetsItsGradientOnEveryPath) {
  const at::Tensor q = draw({1}, {2, 5, 3, 7, 4}), k = draw({2}, {2, 5, 3, 7, 4}), v = draw({3}, {2, 5, 3, 7, 4});
  for (const auto path : {AttentionPath::kRule, AttentionPath::kPlain, AttentionPath::kFused}) {
    const at::Tensor ours = leaf(draw({4}, {1, 3, 7, 7})), theirs = leaf(ours);
    attend(q, k, v, {.bias = ours, .learnt_bias = true}, {.attention = path}).square().sum().backward();
    plain(q, k, v, {.bias = theirs}).square().sum().backward();
    EXPECT_LT(difference(ours.grad(), theirs.grad()), 1e-12);
  }
}

TEST(Attention, DropoutIsKeyedAndKeepsTheMean) {
  const at::Tensor q = draw({1}, {1, 1, 4, 3}), k = draw({2}, {1, 1, 4, 3}), v = draw({3}, {1, 1, 4, 3});
  const auto with = [&](std::uint64_t key, double dropout) {
    return attend(q, k, v, {.causal = true, .dropout = dropout}, {.draws = keyed_generator(key, at::kCPU)});
  };
  EXPECT_TRUE(at::equal(with(1, 0.4), with(1, 0.4)));
  at::Tensor mean = at::zeros_like(v);
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) mean += with(random_key({5, static_cast<std::uint64_t>(i)}), 0.4) / kDraws;
  EXPECT_LT(difference(mean, with(1, 0)), 0.1);
  EXPECT_THROW(attend(q, k, v, {.dropout = 0.4}, {}), c10::Error);
}

TEST(Attention, TheRuleKnowsDeviceTypeAndTokens) {
  EXPECT_EQ(attention_rule(at::kCPU, at::kBFloat16, kFusedBf16Tokens - 1), AttentionPath::kPlain);
  EXPECT_EQ(attention_rule(at::kCPU, at::kBFloat16, kFusedBf16Tokens), AttentionPath::kFused);
  EXPECT_EQ(attention_rule(at::kCPU, at::kFloat, 50), AttentionPath::kFused);
  EXPECT_EQ(attention_rule(at::kCUDA, at::kBFloat16, 50), AttentionPath::kFused);
}

}  // namespace
}  // namespace triptych

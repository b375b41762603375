// BERT against Hugging Face's.
#include "core/model/bert.h"

#include <gtest/gtest.h>

#include "core/model/initial_weights.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

BertConfig tiny_bert(double dropout = 0) {
  BertConfig config;
  config.context = 10;
  config.width = 32;
  config.depth = 2;
  config.heads = 4;
  config.mlp_ratio = 2;
  config.vocabulary = 90;
  config.positions = 20;
  config.dropout = dropout;
  return config;
}

TEST(Bert, HuggingFacesFileIsGolden) {
  const Golden golden("hf_bert_small");
  Bert tower(tiny_bert(), 5, Initializer(1));
  load_initial_weights(
      tower,
      {.whole = "", .image = "", .text = source_path("tests/golden/checkpoints/hf_bert_small/model.safetensors")});
  const at::Tensor tokens = golden["in.input_ids"];
  const at::Tensor real = golden["in.attention_mask"].to(at::kBool);
  const auto states = tower.states(tokens, {});
  ASSERT_EQ(states.size(), 3U);
  const std::vector<double> noise = {4.63e-07, 6.91e-07, 1.07e-06};
  // The file's second segment is what this tower has no use for: compare rows of segment 0.
  const at::Tensor types = golden["in.token_type_ids"];
  for (std::int64_t row = 0; row < tokens.size(0); ++row) {
    if (types[row].any().item<bool>()) continue;
    for (std::size_t i = 0; i < 3; ++i) {
      const at::Tensor expected = golden["out.hidden" + std::to_string(i)][row].index({real[row]});
      EXPECT_LT(difference(states[i][row].index({real[row]}), expected), 10 * noise[i]) << row << " " << i;
    }
  }
}

TEST(Bert, PaddingChangesNothingAndRowsComeOutInTheirOrder) {
  Bert tower(tiny_bert(), 5, Initializer(2));
  tower.to(at::kCPU, at::kDouble);
  at::Tensor tokens = at::randint(3, 90, {70, 10}, at::kLong);
  for (std::int64_t row = 0; row < 70; ++row) tokens[row].narrow(0, 1 + row * 7 % 9, 9 - row * 7 % 9).fill_(0);
  const at::Tensor together = tower.forward(tokens), weights = draw({3}, together.sizes());
  const at::Tensor plain = tower.states(tokens, {}).back().select(1, 0).matmul(tower.parameters()[0].tensor);
  EXPECT_LT(difference(together, plain), 1e-13);
  (together * weights).sum().backward();
  std::vector<at::Tensor> gradients;
  for (const auto& [name, tensor] : tower.parameters()) gradients.push_back(tensor.grad().clone());
  for (const auto& [name, tensor] : tower.parameters()) tensor.mutable_grad() = at::Tensor();
  (plain * weights).sum().backward();
  std::size_t i = 0;
  for (const auto& [name, tensor] : tower.parameters()) {
    // Positions that no text reaches get none.
    EXPECT_LT(difference(gradients[i], tensor.grad()), 1e-12 * std::max(1.0, gradients[i].abs().max().item<double>()))
        << name;
    ++i;
  }
}

TEST(Bert, DropoutIsKeyedAndActsWhileTrainingOnly) {
  Bert tower(tiny_bert(0.3), 5, Initializer(2));
  const at::Tensor tokens = at::randint(3, 90, {4, 10}, at::kLong);
  const auto with = [&](std::uint64_t key) { return tower.forward(tokens, {.draws = keyed_generator(key, at::kCPU)}); };
  EXPECT_TRUE(at::equal(with(1), with(1)));
  EXPECT_GT(difference(with(1), with(2)), 1e-3);
  EXPECT_THROW(tower.forward(tokens), c10::Error);  // no draws
  tower.set_training(false);
  EXPECT_TRUE(at::equal(with(1), tower.forward(tokens)));
}

}  // namespace
}  // namespace triptych

// The CLIP loss against cross-entropy over the whole batch, on 1 to 4 ranks.
#include "losses/clip.h"

#include <gtest/gtest.h>

#include "tests/losses/ranks.h"

namespace triptych {
namespace {

TEST(Clip, PlainFormulaOnOneToFourRanks) {
  const at::Tensor image = leaf(unit(draw({1}, {12, 6}))), text = leaf(unit(draw({2}, {12, 6})));
  const at::Tensor log_scale = leaf(at::scalar_tensor(2.5, at::kDouble));
  const at::Tensor s = log_scale.exp() * image.matmul(text.t());
  const at::Tensor expected = -(s.log_softmax(1).diagonal().mean() + s.log_softmax(0).diagonal().mean()) / 2;
  expected.backward();
  const RankLoss loss = [](const auto& i, const auto& t, const auto&, const auto& scale, Collectives& comm) {
    return clip_loss(i, t, scale, comm);
  };
  for (const int size : {1, 2, 3, 4}) {
    const RankResults r = on_ranks(size, image, text, at::zeros({12}, at::kLong), log_scale, loss);
    EXPECT_LT(difference(r.mean_loss(), expected), 1e-12) << size;
    EXPECT_LT(difference(r.image_grad_Bd / size, image.grad()), 1e-12) << size;
    EXPECT_LT(difference(r.text_grad_Bd / size, text.grad()), 1e-12) << size;
    EXPECT_LT(difference(r.mean_log_scale_grad(), log_scale.grad()), 1e-12) << size;
  }
}

}  // namespace
}  // namespace triptych

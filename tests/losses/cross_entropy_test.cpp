// Cross-entropy against its formula, with and without label smoothing.
#include "losses/cross_entropy.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

TEST(CrossEntropy, PlainFormula) {
  const at::Tensor logits = draw({1}, {4, 5}), labels = at::tensor({2, 0, 4, 2}, at::kLong);
  for (const double smoothing : {0.0, 0.1}) {
    double expected = 0;
    for (std::int64_t i = 0; i < 4; ++i) {
      const at::Tensor log_share = logits[i] - logits[i].exp().sum().log();
      for (std::int64_t c = 0; c < 5; ++c) {
        const double target = (1 - smoothing) * (c == labels[i].item<std::int64_t>()) + smoothing / 5;
        expected -= target * log_share[c].item<double>() / 4;
      }
    }
    EXPECT_NEAR(softmax_cross_entropy(logits, labels, smoothing).total.item<double>(), expected, 1e-12);
  }
}

TEST(CrossEntropy, AgreesWithTorch) {
  const at::Tensor logits = draw({2}, {6, 3}), labels = at::tensor({2, 0, 1, 2, 1, 1}, at::kLong);
  EXPECT_LT(difference(softmax_cross_entropy(logits, labels, 0.2).total,
                       at::cross_entropy_loss(logits, labels, {}, at::Reduction::Mean, -100, 0.2)),
            1e-12);
}

TEST(CrossEntropy, RowsOfTwoLabels) {
  const at::Tensor logits = draw({3}, {3, 4}), one = at::tensor({2, 0, 1}, at::kLong),
                   two = at::tensor({0, 0, 3}, at::kLong);
  const at::Tensor weight = at::tensor({0.3, 0.6, 1.0}, at::kDouble);
  double expected = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    const at::Tensor log_share = logits[i] - logits[i].exp().sum().log();
    const double w = weight[i].item<double>();
    expected -= w * log_share[one[i].item<std::int64_t>()].item<double>() / 3;
    expected -= (1 - w) * log_share[two[i].item<std::int64_t>()].item<double>() / 3;
  }
  EXPECT_NEAR(softmax_cross_entropy(logits, {one, two, weight}).total.item<double>(), expected, 1e-12);
}

TEST(CrossEntropy, RefusesLabelsOutOfRange) {
  EXPECT_THROW(softmax_cross_entropy(draw({1}, {2, 3}), at::tensor({0, -1}, at::kLong)), c10::Error);
  EXPECT_THROW(softmax_cross_entropy(draw({1}, {2, 3}), at::tensor({0, 3}, at::kLong)), c10::Error);
  EXPECT_THROW(softmax_cross_entropy(draw({1}, {2, 3}), at::tensor({0}, at::kLong)), c10::Error);
}

}  // namespace
}  // namespace triptych

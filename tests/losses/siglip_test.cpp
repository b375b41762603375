// SigLIP's loss against its formula over the whole batch, on 1 to 4 ranks.
#include "losses/siglip.h"

#include <gtest/gtest.h>

#include "tests/losses/ranks.h"

namespace triptych {
namespace {

struct Whole {
  at::Tensor loss, image, text, scale, bias;
};

Whole whole_matrix(const at::Tensor& image_Bd, const at::Tensor& text_Bd, double scale_value, double bias_value) {
  const at::Tensor image = leaf(image_Bd), text = leaf(text_Bd);
  const at::Tensor scale = leaf(at::scalar_tensor(scale_value, image.options())),
                   bias = leaf(at::scalar_tensor(bias_value, image.options()));
  const at::Tensor l = image.matmul(text.t()) * scale + bias, z = 2 * at::eye(image.size(0), image.options()) - 1;
  const at::Tensor loss = -at::log_sigmoid(z * l).sum() / image.size(0);
  loss.backward();
  return {loss.detach(), image.grad(), text.grad(), scale.grad(), bias.grad()};
}

Whole on_threads(int ranks, const at::Tensor& image_Bd, const at::Tensor& text_Bd, double scale, double bias,
                 ProductType products = {}) {
  std::vector<Whole> by_rank(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Collectives& comm) {
    const std::int64_t b = image_Bd.size(0) / ranks, first = comm.rank() * b;
    const at::Tensor u = leaf(image_Bd.narrow(0, first, b)), v = leaf(text_Bd.narrow(0, first, b));
    const at::Tensor s = leaf(at::scalar_tensor(scale, u.options())), t = leaf(at::scalar_tensor(bias, u.options()));
    const auto out = siglip_loss(u, v, s, t, comm, products);
    out.total.backward();
    EXPECT_LT(difference(out.total.detach(), out.terms[0].value + out.terms[1].value), 1e-5);
    by_rank[static_cast<std::size_t>(comm.rank())] = {out.total.detach(), u.grad(), v.grad(), s.grad(), t.grad()};
  });
  Whole mean = by_rank[0];
  for (std::size_t rank = 1; rank < by_rank.size(); ++rank) {
    mean.loss = mean.loss + by_rank[rank].loss;
    mean.scale = mean.scale + by_rank[rank].scale;
    mean.bias = mean.bias + by_rank[rank].bias;
    mean.image = at::cat({mean.image, by_rank[rank].image});
    mean.text = at::cat({mean.text, by_rank[rank].text});
  }
  return {mean.loss / ranks, mean.image / ranks, mean.text / ranks, mean.scale / ranks, mean.bias / ranks};
}

TEST(SigLip, PlainFormulaOnOneToFourRanks) {
  for (const std::int64_t rows : {1, 12, 1104}) {  // parts of tiles, and several
    const at::Tensor image = unit(draw({1}, {rows, 7})), text = unit(image + 0.5 * draw({2}, {rows, 7}));
    for (const auto& [scale, bias] : {std::pair{10.0, -10.0}, std::pair{100.0, -16.0}, std::pair{1.0, 0.0}}) {
      const auto expected = whole_matrix(image, text, scale, bias);
      for (const int ranks : {1, 2, 3, 4}) {
        if (rows % ranks != 0) continue;
        const auto got = on_threads(ranks, image, text, scale, bias);
        const auto where =
            std::to_string(rows) + " rows, " + std::to_string(ranks) + " ranks, scale " + std::to_string(scale);
        EXPECT_LT(difference(got.loss, expected.loss), 1e-10) << where;
        EXPECT_LT(difference(got.image, expected.image), 1e-12) << where;
        EXPECT_LT(difference(got.text, expected.text), 1e-12) << where;
        EXPECT_LT(difference(got.scale, expected.scale), 1e-10) << where;
        EXPECT_LT(difference(got.bias, expected.bias), 1e-10) << where;
      }
    }
  }
}

TEST(SigLip, SmallLossesKeepTheirDigitsInSinglePrecision) {
  const at::Tensor image = unit(draw({3}, {600, 64})).to(at::kFloat);
  const auto expected = whole_matrix(image.to(at::kDouble), image.to(at::kDouble), 30, -15);
  const auto single = on_threads(1, image, image, 30, -15), half = on_threads(2, image, image, 30, -15, at::kBFloat16);
  const double loss = expected.loss.item<double>();
  EXPECT_LT(difference(single.loss.to(at::kDouble), expected.loss), 1e-5 * loss);
  EXPECT_LT(difference(single.image.to(at::kDouble), expected.image), 1e-5 * expected.image.abs().max().item<double>());
  EXPECT_LT(difference(half.loss.to(at::kDouble), expected.loss), 2e-2 * loss);
  EXPECT_LT(difference(half.image.to(at::kDouble), expected.image), 3e-2 * expected.image.abs().max().item<double>());
}

}  // namespace
}  // namespace triptych

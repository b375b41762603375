// The tiled losses against the whole matrix in fp64, on batches of several tiles and of parts of tiles.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "losses/clip.h"
#include "losses/supcon.h"
#include "losses/tile_contrast.h"
#include "losses/tile_loops.h"
#include "losses/unicl.h"
#include "tests/losses/ranks.h"

namespace triptych {
namespace {

struct Gradients {
  at::Tensor loss, image, text, scale;
};

/// The formula with its whole matrix, by autograd. target_BK >= 0 with a positive sum in every row and column.
Gradients whole_matrix(const at::Tensor& image_Bd, const at::Tensor& text_Kd, const at::Tensor& target_BK,
                       double scale_value) {
  const at::Tensor image = leaf(image_Bd), text = leaf(text_Kd),
                   scale = leaf(at::scalar_tensor(scale_value, image_Bd.options()));
  const at::Tensor s = image.matmul(text.t()) * scale, target = target_BK.to(s.scalar_type());
  const auto direction = [&](std::int64_t along) {
    return (at::logsumexp(s, {along}) - (target * s).sum(along) / target.sum(along)).mean();
  };
  const at::Tensor loss = (direction(1) + direction(0)) / 2;
  loss.backward();
  return {loss.detach(), image.grad(), text.grad(), scale.grad()};
}

at::Tensor target_of(const at::Tensor& labels_B) {
  const at::Tensor same = (labels_B.unsqueeze(1) == labels_B.unsqueeze(0)).logical_and((labels_B >= 0).unsqueeze(1));
  return same.logical_or(at::eye(labels_B.size(0), at::kBool)).to(at::kDouble);
}

Gradients tiled(int ranks, const at::Tensor& image_Bd, const at::Tensor& text_Kd, const at::Tensor& labels_B,
                double scale) {
  const auto r = on_ranks(ranks, image_Bd, text_Kd, labels_B, at::scalar_tensor(std::log(scale), image_Bd.options()),
                          [](const auto& image, const auto& text, const auto& labels, const auto& s,
                             Collectives& comm) { return unicl_loss(image, text, labels, s, comm); });
  return {r.mean_loss(), r.image_grad_Bd / ranks, r.text_grad_Bd / ranks, r.mean_log_scale_grad() / scale};
}

/// Difference in the unit of the largest entry.
double relative(const at::Tensor& a, const at::Tensor& b) {
  return difference(a, b) / std::max(b.abs().max().item<double>(), 1e-300);
}

struct Labels {
  const char* name;
  at::Tensor labels_B;
};
std::vector<Labels> label_cases(std::int64_t rows) {
  const at::Tensor row = at::arange(rows, at::kLong);
  return {{"none", at::full({rows}, kNoLabel, at::kLong)},
          {"one class", at::zeros({rows}, at::kLong)},
          {"seven classes, half of the rows without", at::where(row % 2 == 0, row % 7, at::full({rows}, kNoLabel))},
          {"numbers beyond 2^31", row % 5 + (std::int64_t{1} << 40)}};
}

TEST(Tiled, IsTheWholeMatrix) {
  for (const std::int64_t rows : {1, 7, 513, 1300}) {
    const at::Tensor image = unit(draw({1}, {rows, 12})), text = unit(draw({2}, {rows, 12}));
    for (const auto& [name, labels] : label_cases(rows)) {
      for (const double scale : {1.0, 14.0, 100.0}) {
        const auto expected = whole_matrix(image, text, target_of(labels), scale);
        for (const int ranks : {1, 2}) {
          if (rows % ranks != 0) continue;
          const auto got = tiled(ranks, image, text, labels, scale);
          const auto where = std::to_string(rows) + " rows, " + name + ", scale " + std::to_string(scale) + ", " +
                             std::to_string(ranks) + " ranks";
          EXPECT_LT(difference(got.loss, expected.loss), 1e-12) << where;
          EXPECT_LT(difference(got.image, expected.image), 1e-13) << where;
          EXPECT_LT(difference(got.text, expected.text), 1e-13) << where;
          EXPECT_LT(difference(got.scale, expected.scale), 1e-13) << where;
        }
      }
    }
  }
}

TEST(Tiled, SeveralTextsAnImageAndMixedLabels) {
  const std::int64_t rows = 700, texts = 2;
  const at::Tensor image = unit(draw({3}, {rows, 8})), text = unit(draw({4}, {rows * texts, 8}));
  const at::Tensor row = at::arange(rows, at::kLong), first = row % 11, second = (row * 7 + 3) % 11;
  const at::Tensor share = (draw({5}, {rows}).tanh() + 1) / 2;
  const at::Tensor y = at::zeros({rows, 11}, at::kDouble);
  y.scatter_add_(1, first.unsqueeze(1), share.unsqueeze(1))
      .scatter_add_(1, second.unsqueeze(1), (1 - share).unsqueeze(1));
  const auto expected = whole_matrix(image, text, y.matmul(y.t()).repeat_interleave(texts, 1), 20);
  run_ranks(1, [&](Collectives& comm) {
    const at::Tensor u = leaf(image), v = leaf(text), s = leaf(at::scalar_tensor(20.0, at::kDouble));
    const auto loss = unicl_loss(u, v, RowLabels(first, second, share), s, comm);
    loss.total.backward();
    EXPECT_LT(difference(loss.total.detach(), expected.loss), 1e-12);
    EXPECT_LT(difference(u.grad(), expected.image), 1e-13);
    EXPECT_LT(difference(v.grad(), expected.text), 1e-13);
    EXPECT_LT(difference(s.grad(), expected.scale), 1e-13);
  });
}

TEST(Tiled, SinglePrecisionIsAsGoodAsTheWholeMatrix) {
  const std::int64_t rows = 2100;  // several tiles either way
  // From a loss near 0 to a high one. (At scale 100 and little noise it is 0 to the last bit of fp64.)
  for (const auto& [noise, scale] : {std::pair{0.05, 14.0}, std::pair{0.3, 14.0}, std::pair{3.0, 100.0}}) {
    const auto rounded = [](const at::Tensor& t) { return t.to(at::kFloat).to(at::kDouble); };
    const at::Tensor image = rounded(unit(draw({6}, {rows, 64})));
    const at::Tensor text = rounded(unit(image + noise * draw({7}, {rows, 64})));
    const at::Tensor labels = at::full({rows}, kNoLabel, at::kLong);
    const auto exact = whole_matrix(image, text, target_of(labels), scale);
    const auto matrix = whole_matrix(image.to(at::kFloat), text.to(at::kFloat), target_of(labels), scale);
    Gradients got;
    run_ranks(1, [&, noisy = text, s = scale](Collectives& comm) {  // the scale itself, not e to its rounded logarithm
      const at::Tensor u = leaf(image.to(at::kFloat)), v = leaf(noisy.to(at::kFloat));
      const auto loss = unicl_loss(u, v, labels, at::scalar_tensor(s, at::kFloat), comm);
      loss.total.backward();
      got = {loss.total.detach(), u.grad(), v.grad(), {}};
    });
    const auto where = "noise " + std::to_string(noise) + ", loss " + std::to_string(exact.loss.item<double>());
    EXPECT_LT(relative(got.image, exact.image), 1.5 * relative(matrix.image, exact.image)) << where;
    EXPECT_LT(relative(got.text, exact.text), 1.5 * relative(matrix.text, exact.text)) << where;
    EXPECT_LT(relative(got.loss, exact.loss), 5e-6) << where;  // products of 1 rounded to 6e-8, times 14
  }
}

/// As OpenCLIP computes under amp_bf16: rows and logits rounded to bfloat16, the rest in fp32.
Gradients whole_matrix_of_rounded_logits(const at::Tensor& image_Bd, const at::Tensor& text_Bd,
                                         const at::Tensor& target_BB, double scale) {
  const at::Tensor image = leaf(image_Bd.to(at::kFloat)), text = leaf(text_Bd.to(at::kFloat));
  const at::Tensor rows = (scale * image).to(at::kBFloat16), columns = text.to(at::kBFloat16);
  const at::Tensor s = rows.matmul(columns.t()).to(at::kFloat), target = target_BB.to(at::kFloat);
  const auto direction = [&](std::int64_t along) {
    return (at::logsumexp(s, {along}) - (target * s).sum(along) / target.sum(along)).mean();
  };
  const at::Tensor loss = (direction(1) + direction(0)) / 2;
  loss.backward();
  return {loss.detach(), image.grad(), text.grad(), {}};
}

TEST(Tiled, HalfProductsAreBetterThanRoundedLogits) {
  struct Case {
    std::int64_t rows, width;  // odd: what is multiplied in pairs is filled up
    double noise, scale;
    std::int64_t classes;  // 0: no labels; 1: all are of one class
  };
  for (const auto& [rows, width, noise, scale, classes] :
       {Case{1101, 65, 0.1, 14, 0}, Case{1101, 65, 3, 100, 0}, Case{1152, 64, 0.3, 14, 0}, Case{1152, 64, 0.6, 100, 0},
        Case{1101, 65, 0.1, 14, 4}, Case{1152, 64, 3, 100, 40}, Case{1152, 64, 0.3, 14, 1}}) {
    const at::Tensor image = unit(draw({40}, {rows, width})), text = unit(image + noise * draw({41}, {rows, width}));
    const at::Tensor row = at::arange(rows, at::kLong);
    const at::Tensor labels = classes == 0 ? at::full_like(row, kNoLabel) : row % classes;
    const auto exact = whole_matrix(image, text, target_of(labels), scale);
    const auto rounded = whole_matrix_of_rounded_logits(image, text, target_of(labels), scale);
    for (const int ranks : {1, 3}) {
      const auto r = on_ranks(ranks, image.to(at::kFloat), text.to(at::kFloat), labels,
                              at::scalar_tensor(std::log(scale), at::kFloat),
                              [](const auto& u, const auto& v, const auto& y, const auto& s, Collectives& comm) {
                                return unicl_loss(u, v, y, s, comm, UniclDirections::kBoth, at::kBFloat16);
                              });
      const auto where = "noise " + std::to_string(noise) + ", scale " + std::to_string(scale) + ", " +
                         std::to_string(classes) + " classes, " + std::to_string(ranks) + " ranks, loss " +
                         std::to_string(exact.loss.template item<double>());
      EXPECT_LT(relative(r.image_grad_Bd / ranks, exact.image), relative(rounded.image, exact.image)) << where;
      EXPECT_LT(relative(r.text_grad_Bd / ranks, exact.text), relative(rounded.text, exact.text)) << where;
    }
  }
}

TEST(Tiled, SupConLeavesEveryViewOutOfItsOwnSum) {
  const std::int64_t samples = 400, views = 3, rows = samples * views;
  const at::Tensor z = unit(draw({8}, {samples, views, 10})), labels = at::arange(samples, at::kLong) % 13;
  const double temperature = 0.1;
  const at::Tensor flat = leaf(z.flatten(0, 1)), ids = labels.repeat_interleave(views);
  const at::Tensor self = at::eye(rows, at::kBool);
  const at::Tensor s = flat.matmul(flat.t()) / temperature;
  const at::Tensor target = (ids.unsqueeze(1) == ids.unsqueeze(0)).logical_and(self.logical_not()).to(at::kDouble);
  const at::Tensor others = s.masked_fill(self, -std::numeric_limits<double>::infinity());
  const at::Tensor expected = (at::logsumexp(others, {1}) - (target * s).sum(1) / target.sum(1)).mean();
  expected.backward();
  for (const int size : {1, 2, 4}) {
    std::vector<at::Tensor> loss(static_cast<std::size_t>(size)), grad(loss);
    run_ranks(size, [&](Collectives& comm) {
      const auto b = samples / size, rank = static_cast<std::int64_t>(comm.rank());
      const at::Tensor own = leaf(z.narrow(0, rank * b, b));
      const auto out = supcon_loss(own, labels.narrow(0, rank * b, b), temperature, comm);
      out.total.backward();
      loss[static_cast<std::size_t>(rank)] = out.total.detach();
      grad[static_cast<std::size_t>(rank)] = own.grad();
    });
    EXPECT_LT(difference(at::stack(loss).mean(), expected.detach()), 1e-12) << size;
    EXPECT_LT(difference(at::cat(grad).flatten(0, 1) / size, flat.grad()), 1e-13) << size;
  }
}

TEST(Tiled, TensorOperationsAndLoopsAgree) {
  const std::int64_t queries = 700, keys = 1500;
  const auto side = [](std::int64_t rows, std::uint64_t what, bool mixed) {
    const at::Tensor row = at::arange(rows, at::kInt);
    LabelColumns labels{(row % 9).to(at::kInt), {}, {}};
    if (mixed) {
      labels.second = (row % 4).to(at::kInt);
      labels.share = draw({what, 1}, {rows}).sigmoid();
    }
    return TileSide{unit(draw({what}, {rows, 6})), labels};
  };
  for (const bool mixed : {false, true}) {
    for (const bool self : {false, true}) {
      PairSoftmax loops{side(queries, 20, mixed), side(keys, 21, mixed), 30};
      if (self) loops.self = 600;
      PairSoftmax tensors = loops;
      tensors.by_tensors = true;
      const auto [a, b] = loops.both_stats();
      const auto [c, d] = tensors.both_stats();
      for (const auto& [got, expected] : {std::pair{a, c}, std::pair{b, d}}) {
        EXPECT_LT(difference(got.lse(30), expected.lse(30)), 1e-12);
        EXPECT_LT(difference(got.expected, expected.expected), 1e-12);
        EXPECT_LT(difference(got.positive, expected.positive), 1e-11);
      }
      const SideGradient rows{a.most, a.log_sum, 0.3, draw({22}, {queries})},
          columns{b.most, b.log_sum, 0.7, draw({23}, {keys})};
      const auto one = pair_gradients(loops, rows, columns, true), two = pair_gradients(tensors, rows, columns, true);
      EXPECT_LT(difference(one.query_nd, two.query_nd), 1e-10);
      EXPECT_LT(difference(one.key_nd, two.key_nd), 1e-10);
    }
  }
}

TEST(Tiled, WhatIsNoNumberIsSeenOnEveryRank) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    at::Tensor image = unit(draw({30}, {8, 5})).to(type), text = unit(draw({31}, {8, 5})).to(type);
    image[6].fill_(std::numeric_limits<double>::quiet_NaN());
    for (const int ranks : {1, 2}) {
      const auto r = on_ranks(ranks, image, text, at::arange(8, at::kLong) % 3, at::scalar_tensor(2.0, image.options()),
                              [](const auto& u, const auto& v, const auto& labels, const auto& s, Collectives& comm) {
                                return unicl_loss(u, v, labels, s, comm);
                              });
      for (const auto& loss : r.loss) EXPECT_TRUE(std::isnan(loss.item<double>())) << ranks;
      EXPECT_TRUE(r.text_grad_Bd.isnan().all().item<bool>());
    }
    PairSoftmax pairs{{image, {at::arange(8, at::kInt), {}, {}}}, {text, {at::arange(8, at::kInt), {}, {}}}, 2};
    pairs.by_tensors = true;
    EXPECT_TRUE(pairs.both_stats().second.lse(2).isnan().all().item<bool>());
  }
}

/// e^s of a row by to_gradient: softmax with log-sum-exp 0 and factor 1, no target.
std::vector<float> exponentials(const TileLoops<float>& loops, std::vector<float> s) {
  const std::vector<std::int32_t> labels(s.size(), 1);
  const std::vector<float> zero(s.size(), 0.0F);
  LogitTile<float> tile;
  tile.values = s.data();
  tile.rows = 1;
  tile.columns = static_cast<std::int64_t>(s.size());
  tile.row_labels.first = tile.column_labels.first = labels.data();
  loops.to_gradient(tile, {zero.data(), zero.data(), 1, zero.data()}, {nullptr, nullptr, 0, zero.data()}, 0, 1);
  return s;
}

TEST(Tiled, ExponentialsOfEveryInstructionSet) {
  std::vector<float> s;
  for (int i = 0; i <= 8'700; ++i) s.push_back(-0.01F * static_cast<float>(i));
  std::vector<const TileLoops<float>*> sets = {&tile_portable::loops<float>(), &tile_loops<float>()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) sets.push_back(&tile_avx2::loops<float>());
  if (__builtin_cpu_supports("avx512f")) sets.push_back(&tile_avx512::loops<float>());
#endif
  for (const auto* loops : sets) {
    const auto got = exponentials(*loops, s);
    for (std::size_t i = 0; i < s.size(); ++i) {
      const double expected = std::exp(static_cast<double>(s[i]));
      ASSERT_NEAR(got[i], expected, 3e-7 * expected) << s[i];
    }
    EXPECT_LT(exponentials(*loops, {-1000.0F})[0], 1e-37F);
    for (const auto bits : {0x7fc00000U, 0x7fffffffU, 0xffffffffU}) {  // what is no number must not look like one
      EXPECT_TRUE(std::isnan(exponentials(*loops, {std::bit_cast<float>(bits)})[0]));
    }
  }
}

}  // namespace
}  // namespace triptych

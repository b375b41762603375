// Targets and losses of fine alignment: loops, finite differences, and pictures that are left out.
#include "losses/fine_alignment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr LabelForm kForms[] = {LabelForm::kMinMax, LabelForm::kPositiveMinMax, LabelForm::kSigmoid,
                                LabelForm::kSoftmax};

at::Tensor counts_of(const std::vector<std::int64_t>& of) {
  return at::tensor(of, at::kLong);
}

/// Of one picture's values.
std::vector<double> plain_labels(std::vector<double> x, LabelForm form) {
  double least = x[0], most = x[0], sum = 0;
  if (form == LabelForm::kPositiveMinMax) {
    for (double& v : x) v = std::max(v, 0.0);
  }
  least = *std::min_element(x.begin(), x.end());
  most = *std::max_element(x.begin(), x.end());
  for (const double v : x) sum += std::exp(v);
  for (double& v : x) {
    if (form == LabelForm::kSigmoid) {
      v = 1 / (1 + std::exp(-v));
    } else if (form == LabelForm::kSoftmax) {
      v = std::exp(v) / sum;
    } else if (most > least) {
      v = (v - least) / (most - least);
    } else {
      v = form == LabelForm::kMinMax ? 0.5 : 0;
    }
  }
  return x;
}

TEST(FineAlignment, LabelsOfRegions) {
  at::Tensor value = draw({1}, {5, 4}) * 0.3;
  value[1].fill_(0.2);         // all the same
  value[2] = -value[2].abs();  // none positive
  for (const auto form : kForms) {
    const at::Tensor label = normalised_regions(value, form);
    for (std::int64_t row = 0; row < 5; ++row) {
      std::vector<double> x;
      for (std::int64_t i = 0; i < 4; ++i) x.push_back(value[row][i].item<double>());
      EXPECT_LT(difference(label[row], at::tensor(plain_labels(x, form), at::kDouble)), 1e-12);
    }
    EXPECT_GE(label.min().item<double>(), 0);
    EXPECT_LE(label.max().item<double>(), 1);
    EXPECT_EQ(normalised_regions(value.narrow(1, 0, 0), form).numel(), 0);
    EXPECT_EQ(normalised_regions(value.to(at::kFloat), form).scalar_type(), at::kFloat);
    EXPECT_FALSE(normalised_regions(leaf(value), form).requires_grad());
    // Only the form says how pictures are told apart: not their neighbours.
    EXPECT_TRUE(at::equal(normalised_regions(value.narrow(0, 3, 1), form), label.narrow(0, 3, 1)));
    // What is no number is not hidden.
    at::Tensor bad = value.clone();
    bad[0][1] = kNaN;
    EXPECT_TRUE(normalised_regions(bad, form)[0][1].isnan().item<bool>());
  }
}

TEST(FineAlignment, LabelsOfPairs) {
  const std::int64_t n = 5, m = 3, p = 4;
  at::Tensor value = draw({2}, {n, m, p});
  value[4].fill_(-1);
  const std::vector<std::int64_t> count = {4, 1, 0, 2, 3};
  for (std::int64_t row = 0; row < n; ++row) value[row].narrow(1, count[row], p - count[row]).fill_(kNaN);
  for (const auto form : kForms) {
    const at::Tensor label = normalised_pairs(value, counts_of(count), form);
    ASSERT_EQ(label.sizes(), value.sizes());
    for (std::int64_t row = 0; row < n; ++row) {
      EXPECT_TRUE(label[row].narrow(1, count[row], p - count[row]).eq(0).all().item<bool>());
      std::vector<double> x;
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < count[row]; ++j) x.push_back(value[row][i][j].item<double>());
      }
      if (x.empty()) continue;
      const at::Tensor expected = at::tensor(plain_labels(x, form), at::kDouble).view({m, count[row]});
      EXPECT_LT(difference(label[row].narrow(1, 0, count[row]), expected), 1e-12);
    }
  }
}

using Loss = std::function<at::Tensor(const at::Tensor&)>;

/// Largest difference of autograd's gradient to central differences.
double gradient_error(const Loss& loss, const at::Tensor& at_point) {
  const at::Tensor x = leaf(at_point);
  loss(x).backward();
  const double step = 1e-5;
  double worst = 0;
  for (std::int64_t k = 0; k < x.numel(); ++k) {
    const auto moved = [&](double by) {
      at::Tensor other = at_point.detach().clone();
      other.view({-1})[k] += by;
      return loss(other).item<double>();
    };
    worst =
        std::max(worst, std::abs((moved(step) - moved(-step)) / (2 * step) - x.grad().view({-1})[k].item<double>()));
  }
  return worst;
}

TEST(TokenAlignment, IsEquationEight) {
  const std::int64_t n = 4, m = 5;
  const at::Tensor logit = draw({3}, {n, m}) * 2, label = draw({4}, {n, m}).sigmoid();
  const at::Tensor valid = at::tensor({1, 0, 1, 1}).to(at::kBool);
  double plain = 0, swapped = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t r = 0; r < m && i != 1; ++r) {
      const double s = 1 / (1 + std::exp(-logit[i][r].item<double>())), y = label[i][r].item<double>();
      plain -= y * std::log(s) + (1 - y) * std::log(1 - s);
      swapped -= (1 - y) * std::log(s) + y * std::log(1 - s);
    }
  }
  const auto got = token_alignment_loss(logit, label, valid);
  EXPECT_EQ(got.count, 15);
  EXPECT_NEAR(got.sum.item<double>(), plain, 1e-12);
  EXPECT_GT(std::abs(got.sum.item<double>() - swapped), 0.1);
  EXPECT_LT(gradient_error([&](const at::Tensor& x) { return token_alignment_loss(x, label, valid).sum; }, logit),
            1e-6);
  EXPECT_EQ(token_alignment_loss(logit, label, {}).count, 20);
  // Confidences far beyond what a probability can hold
  const at::Tensor far = at::tensor({-800.0, 800.0, 800.0}, at::kDouble).view({1, 3});
  EXPECT_NEAR(token_alignment_loss(far, at::tensor({0.0, 1.0, 0.25}, at::kDouble).view({1, 3}), {}).sum.item<double>(),
              600, 1e-9);
}

TEST(TokenAlignment, LeavesOutPicturesWithoutLabels) {
  const at::Tensor label = at::full({3, 2}, 0.4, at::kDouble);
  const at::Tensor valid = at::tensor({0, 1, 0}).to(at::kBool);
  at::Tensor logit = draw({5}, {3, 2}), other = label.clone();
  const double expected = token_alignment_loss(logit.narrow(0, 1, 1), label.narrow(0, 1, 1), {}).sum.item<double>();
  logit[0].fill_(kNaN);
  other[2].fill_(kNaN);
  const at::Tensor x = leaf(logit), given = leaf(other);
  const auto loss = token_alignment_loss(x, given, valid);
  EXPECT_EQ(loss.count, 2);
  EXPECT_NEAR(loss.sum.item<double>(), expected, 1e-15);
  loss.sum.backward();
  EXPECT_TRUE(x.grad()[0].eq(0).logical_and(x.grad()[2] == 0).all().item<bool>());
  EXPECT_TRUE(x.grad()[1].ne(0).all().item<bool>());
  EXPECT_FALSE(given.grad().defined());
  // None: 0 with zero gradient.
  const at::Tensor y = leaf(logit);
  const auto none = token_alignment_loss(y, label, at::zeros({3}, at::kBool));
  none.sum.backward();
  EXPECT_EQ(none.count, 0);
  EXPECT_EQ(none.sum.item<double>(), 0);
  EXPECT_TRUE(y.grad().eq(0).all().item<bool>());
  const at::Tensor empty = leaf(at::zeros({0, 2}));
  const auto nothing = token_alignment_loss(empty, at::zeros({0, 2}), {});
  nothing.sum.backward();
  EXPECT_EQ(nothing.sum.item<double>(), 0);
  EXPECT_EQ(nothing.sum.scalar_type(), at::kFloat);
}

/// Equation 11, a mean over pairs for each picture.
double plain_semantic(const at::Tensor& alike, const at::Tensor& label, const std::vector<std::int64_t>& count,
                      bool both) {
  double sum = 0;
  const std::int64_t m = alike.size(1);
  for (std::int64_t b = 0; b < alike.size(0); ++b) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < count[b]; ++j) {
        const auto e = [&](std::int64_t r, std::int64_t c) { return std::exp(alike[b][r][c].item<double>()); };
        double row = 0, column = 0;
        for (std::int64_t c = 0; c < count[b]; ++c) row += e(i, c);
        for (std::int64_t r = 0; r < m; ++r) column += e(r, j);
        const double by_row = std::log(e(i, j) / row), by_column = std::log(e(i, j) / column);
        sum -= label[b][i][j].item<double>() * (both ? (by_row + by_column) / 2 : by_row) /
               static_cast<double>(m * count[b]);
      }
    }
  }
  return sum;
}

TEST(SemanticAlignment, IsEquationEleven) {
  const std::int64_t n = 5, m = 3, p = 4;
  const std::vector<std::int64_t> count = {4, 2, 0, 1, 3};
  const at::Tensor alike = draw({6}, {n, m, p}) * 2, label = draw({7}, {n, m, p}).sigmoid();
  for (const auto over : {SoftmaxOver::kPhrases, SoftmaxOver::kBoth}) {
    const bool both = over == SoftmaxOver::kBoth;
    const auto got = semantic_alignment_loss(alike, label, counts_of(count), over);
    EXPECT_EQ(got.count, 4);
    EXPECT_NEAR(got.sum.item<double>(), plain_semantic(alike, label, count, both), 1e-12);
    EXPECT_GT(std::abs(got.sum.item<double>() - plain_semantic(alike, label, count, !both)), 1e-3);
    EXPECT_LT(
        gradient_error(
            [&](const at::Tensor& x) { return semantic_alignment_loss(x, label, counts_of(count), over).sum; }, alike),
        1e-6);
  }
}

TEST(SemanticAlignment, LeavesOutPhrasesThatAreNone) {
  const std::int64_t n = 3, m = 4, p = 5;
  const std::vector<std::int64_t> count = {3, 0, 5};
  at::Tensor alike = draw({8}, {n, m, p}), label = draw({9}, {n, m, p}).sigmoid();
  for (const auto over : {SoftmaxOver::kPhrases, SoftmaxOver::kBoth}) {
    const auto expected = semantic_alignment_loss(alike, label, counts_of(count), over).sum;
    at::Tensor bad = alike.clone(), bad_label = label.clone();
    for (const auto& each : {bad, bad_label}) {
      for (std::int64_t row = 0; row < n; ++row) each[row].narrow(1, count[row], p - count[row]).fill_(kNaN);
    }
    const at::Tensor x = leaf(bad), given = leaf(bad_label);
    const auto loss = semantic_alignment_loss(x, given, counts_of(count), over);
    loss.sum.backward();
    EXPECT_NEAR(loss.sum.item<double>(), expected.item<double>(), 1e-15);
    EXPECT_FALSE(given.grad().defined());
    for (std::int64_t row = 0; row < n; ++row) {
      EXPECT_TRUE(x.grad()[row].narrow(1, count[row], p - count[row]).eq(0).all().item<bool>());
      EXPECT_TRUE(x.grad()[row].narrow(1, 0, count[row]).ne(0).all().item<bool>());
    }
    // No phrases at all: 0 with zero gradient.
    const at::Tensor y = leaf(bad);
    const auto none = semantic_alignment_loss(y, bad_label, counts_of({0, 0, 0}), over);
    none.sum.backward();
    EXPECT_EQ(none.count, 0);
    EXPECT_EQ(none.sum.item<double>(), 0);
    EXPECT_TRUE(y.grad().eq(0).all().item<bool>());
    const at::Tensor empty = leaf(at::zeros({2, m, 0}));
    const auto nothing = semantic_alignment_loss(empty, at::zeros({2, m, 0}), counts_of({0, 0}), over);
    nothing.sum.backward();
    EXPECT_EQ(nothing.sum.item<double>(), 0);
  }
}

TEST(SemanticAlignment, NarrowTypesAreSummedInFp32) {
  const at::Tensor alike = draw({10}, {2, 3, 4}).to(at::kBFloat16), label = draw({11}, {2, 3, 4}).sigmoid();
  const at::Tensor count = counts_of({4, 2});
  const auto got = semantic_alignment_loss(alike, label, count, SoftmaxOver::kBoth);
  EXPECT_EQ(got.sum.scalar_type(), at::kFloat);
  EXPECT_LT(difference(got.sum, semantic_alignment_loss(alike.to(at::kDouble), label, count, SoftmaxOver::kBoth).sum),
            1e-5);
}

TEST(FineAlignment, RefusesWhatDoesNotFit) {
  const at::Tensor two = at::zeros({2, 3}), three = at::zeros({2, 3, 4});
  EXPECT_THROW(normalised_regions(three, LabelForm::kMinMax), c10::Error);
  EXPECT_THROW(normalised_pairs(two, counts_of({1, 1}), LabelForm::kMinMax), c10::Error);
  EXPECT_THROW(normalised_pairs(three, counts_of({1}), LabelForm::kMinMax), c10::Error);
  EXPECT_THROW(token_alignment_loss(two, at::zeros({2, 2}), {}), c10::Error);
  EXPECT_THROW(token_alignment_loss(two, two, at::zeros({3}, at::kBool)), c10::Error);
  EXPECT_THROW(token_alignment_loss(two, two, at::zeros({2})), c10::Error);
  EXPECT_THROW(semantic_alignment_loss(three, two, counts_of({1, 1}), SoftmaxOver::kBoth), c10::Error);
  EXPECT_THROW(semantic_alignment_loss(three, three, at::zeros({2}), SoftmaxOver::kBoth), c10::Error);
}

}  // namespace
}  // namespace triptych

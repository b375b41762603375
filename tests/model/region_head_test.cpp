// Boxes by hand, memberships by loops, and gradients that reach width and height.
#include "core/model/region_head.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/module/autocast.h"
#include "core/module/meta_kernels.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

constexpr std::int64_t kRegionSide = 4;

double at3(const at::Tensor& x, std::int64_t i, std::int64_t j, std::int64_t k) {
  return x[i][j][k].item<double>();
}

/// A head in fp64 whose boxes are all of one size.
std::unique_ptr<RegionHead> constant_head(double width, double height, double confidence_logit) {
  auto head = std::make_unique<RegionHead>(6, 5, kRegionSide, Initializer(1));
  head->to(at::kCPU, at::kDouble);
  const c10::NoGradGuard no_grad;
  const auto logit = [](double share) { return std::log(share / (1 - share)); };
  for (auto& [name, tensor] : head->parameters()) {
    if (name == "output.weight") tensor.zero_();
    if (name == "output.bias") tensor.copy_(at::tensor({logit(width), logit(height), confidence_logit}, at::kDouble));
  }
  return head;
}

TEST(RegionHead, BoxesByHand) {
  const auto head = constant_head(0.5, 0.25, 0.7);
  const RegionBoxes boxes = head->forward(draw({1}, {2, 16, 6}));
  const auto box = [&](std::int64_t cell) { return boxes.box_nk4[1][cell]; };
  const auto expected = [](double l, double t, double r, double b) { return at::tensor({l, t, r, b}, at::kDouble); };
  EXPECT_LT(difference(box(6), expected(0.375, 0.25, 0.875, 0.5)), 1e-15);                    // row 1, column 2
  EXPECT_LT(difference(box(9), expected(0.125, 0.5, 0.625, 0.75)), 1e-15);                    // row 2, column 1
  EXPECT_LT(difference(box(0), expected(0, 0, 0.375, 0.25)), 1e-15);                          // cut at the left
  EXPECT_LT(difference(box(15), expected(0.625, 0.75, 1, 1)), 1e-15);                         // and at the right
  EXPECT_LT(difference(boxes.size_nk2[0][15], at::tensor({0.5, 0.25}, at::kDouble)), 1e-15);  // before the cut
  EXPECT_LT(difference(boxes.confidence_logit_nk, at::full({2, 16}, 0.7, at::kDouble)), 1e-15);
}

TEST(RegionHead, IsTheFormula) {
  RegionHead head(6, 5, kRegionSide, Initializer(3));
  head.to(at::kCPU, at::kDouble);
  std::map<std::string, at::Tensor> p;
  for (const auto& [name, tensor] : head.parameters()) p[name] = tensor;
  ASSERT_EQ(p.size(), 4U);
  const at::Tensor cells = draw({2}, {3, 16, 6});
  const at::Tensor z = cells.matmul(p.at("hidden.weight").t()) + p.at("hidden.bias");
  const at::Tensor gelu = z * 0.5 * (1 + at::erf(z / std::sqrt(2.0)));
  const at::Tensor raw = gelu.matmul(p.at("output.weight").t()) + p.at("output.bias");
  const RegionBoxes boxes = head.forward(cells);
  EXPECT_LT(difference(boxes.size_nk2, 1 / (1 + at::exp(-raw.narrow(2, 0, 2)))), 1e-14);
  EXPECT_LT(difference(boxes.confidence_logit_nk, raw.select(2, 2)), 1e-14);
}

TEST(RegionHead, StartsWithAThirdOfTheSidesAndAHalfOfConfidence) {
  const RegionHead head(96, 64, 7, Initializer(5));
  const RegionBoxes boxes = head.forward(draw({3}, {4, 49, 96}).to(at::kFloat));
  EXPECT_EQ(boxes.box_nk4.sizes(), (std::vector<std::int64_t>{4, 49, 4}));
  EXPECT_NEAR(boxes.size_nk2.mean().item<double>(), 1.0 / 3, 0.03);
  EXPECT_LT((boxes.size_nk2 - 1.0 / 3).abs().max().item<double>(), 0.25);
  EXPECT_NEAR(boxes.confidence_logit_nk.sigmoid().mean().item<double>(), 0.5, 0.05);
}

TEST(RegionHead, StaysInFullPrecisionUnderAutocast) {
  const RegionHead head(96, 64, 7, Initializer(5));
  const at::Tensor cells = draw({3}, {2, 49, 96}).to(at::kFloat);
  const AutocastScope autocast(at::kCPU, at::kFloat, at::kBFloat16);
  const RegionBoxes boxes = head.forward(cells);
  EXPECT_EQ(boxes.box_nk4.scalar_type(), at::kFloat);
  const Regions top = top_regions(boxes, 3);
  const at::Tensor soft = soft_membership(top.boxes.size_nk2, top.cell_nm, 7, region_sharpness(7));
  EXPECT_EQ(soft.scalar_type(), at::kFloat);
  EXPECT_EQ(pooled_regions(soft, cells).sizes(), (std::vector<std::int64_t>{2, 3, 96}));
}

/// For plans of a run, from states to pooled features.
TEST(RegionHead, RunsOnMetaTensors) {
  register_meta_kernels();
  const ShapesOnly shapes_only;
  const RegionHead head(6, 5, kRegionSide, Initializer(1, "", at::kMeta));
  const at::Tensor cells = at::zeros({2, 16, 6}, at::TensorOptions(at::kMeta));
  const Regions top = top_regions(head.forward(cells), 3);
  const at::Tensor soft = soft_membership(top.boxes.size_nk2, top.cell_nm, kRegionSide, 16);
  const at::Tensor hard = pooled_regions(hard_membership(soft, top.cell_nm), cells);
  EXPECT_EQ(hard.sizes(), (std::vector<std::int64_t>{2, 3, 6}));
  (pooled_regions(soft, cells) + hard).sum().backward();
}

TEST(RegionHead, RefusesOtherShapes) {
  const RegionHead head(6, 5, kRegionSide, Initializer(1));
  EXPECT_THROW(head.forward(at::zeros({2, 15, 6})), c10::Error);
  EXPECT_THROW(head.forward(at::zeros({2, 16, 7})), c10::Error);
  const RegionBoxes boxes = head.forward(at::zeros({2, 16, 6}));
  EXPECT_THROW(top_regions(boxes, 17), c10::Error);
  EXPECT_THROW(top_regions(boxes, 0), c10::Error);
  EXPECT_EQ(top_regions(boxes, 16).cell_nm.sizes(), (std::vector<std::int64_t>{2, 16}));
}

TEST(TopRegions, MostConfidentFirstAndOfEqualsTheLowerCell) {
  const at::Tensor logit = leaf(at::tensor({1., 3., 3., 2., 3., 0., 0., 0., 0., 5.}, at::kDouble).view({2, 5}));
  const at::Tensor box = leaf(draw({1}, {2, 5, 4})), size = leaf(draw({2}, {2, 5, 2}));
  const Regions top = top_regions({box, size, logit}, 3);
  EXPECT_TRUE(at::equal(top.cell_nm, at::tensor({1, 2, 4, 4, 0, 1}, at::kLong).view({2, 3})));
  for (std::int64_t n = 0; n < 2; ++n) {
    for (std::int64_t m = 0; m < 3; ++m) {
      const auto cell = top.cell_nm[n][m].item<std::int64_t>();
      EXPECT_TRUE(at::equal(top.boxes.box_nk4[n][m], box[n][cell]));
      EXPECT_TRUE(at::equal(top.boxes.size_nk2[n][m], size[n][cell]));
      EXPECT_TRUE(at::equal(top.boxes.confidence_logit_nk[n][m], logit[n][cell]));
    }
  }
  (top.boxes.confidence_logit_nk.sum() + top.boxes.size_nk2.sum()).backward();
  EXPECT_TRUE(at::equal(logit.grad(), at::tensor({0., 1., 1., 0., 1., 1., 1., 0., 0., 1.}, at::kDouble).view({2, 5})));
  EXPECT_TRUE(at::equal(size.grad().select(2, 1), logit.grad()));
}

TEST(TopRegions, ManyEqualsStayInOrder) {
  const RegionBoxes boxes = {at::zeros({1, 400, 4}), at::zeros({1, 400, 2}), at::zeros({1, 400})};
  EXPECT_TRUE(at::equal(top_regions(boxes, 300).cell_nm[0], at::arange(300, at::kLong)));
}

struct RegionCase {
  at::Tensor size_nm2 = draw({20}, {2, 5, 2}).sigmoid();
  at::Tensor cell_nm = at::tensor({0, 5, 6, 15, 3, 12, 5, 9, 10, 7}, at::kLong).view({2, 5});
  at::Tensor cell_nkd = draw({21}, {2, 16, 3});
  double sharpness = region_sharpness(kRegionSide);

  at::Tensor soft() const { return soft_membership(size_nm2, cell_nm, kRegionSide, sharpness); }
};

/// Of one cell in one region, by the header's formula.
double membership(const RegionCase& c, std::int64_t n, std::int64_t m, std::int64_t cell) {
  const auto own = c.cell_nm[n][m].item<std::int64_t>();
  const auto share = [](std::int64_t steps) { return static_cast<double>(std::abs(steps)) / kRegionSide; };
  const auto factor = [&](double extent, double away) {
    return 1 / (1 + std::exp(-c.sharpness * (extent / 2 - away)));
  };
  return factor(at3(c.size_nm2, n, m, 0), share(cell % kRegionSide - own % kRegionSide)) *
         factor(at3(c.size_nm2, n, m, 1), share(cell / kRegionSide - own / kRegionSide));
}

TEST(Membership, SoftAndHardByLoops) {
  const RegionCase c;
  const at::Tensor soft = c.soft(), hard = hard_membership(soft, c.cell_nm);
  ASSERT_EQ(soft.sizes(), (std::vector<std::int64_t>{2, 5, 16}));
  ASSERT_EQ(hard.scalar_type(), at::kBool);
  std::set<bool> seen;
  for (std::int64_t n = 0; n < 2; ++n) {
    for (std::int64_t m = 0; m < 5; ++m) {
      for (std::int64_t cell = 0; cell < 16; ++cell) {
        const double expected = membership(c, n, m, cell);
        const bool own = c.cell_nm[n][m].item<std::int64_t>() == cell;
        EXPECT_NEAR(at3(soft, n, m, cell), expected, 1e-14);
        EXPECT_EQ(hard[n][m][cell].item<bool>(), own || expected > 0.5);
        if (!own) seen.insert(expected > 0.5);
      }
    }
  }
  EXPECT_EQ(seen.size(), 2U);  // the sizes put other cells in and leave some out
}

TEST(Membership, AnEdgeIsOneCellWideAndABoxHoldsWhatItCovers) {
  // Three cells wide, one high, around row 1, column 1: cells 4, 5 and 6.
  RegionCase c;
  c.size_nm2 = at::tensor({0.75, 0.25}, at::kDouble).view({1, 1, 2});
  c.cell_nm = at::full({1, 1}, 5, at::kLong);
  const at::Tensor hard = hard_membership(c.soft(), c.cell_nm)[0][0];
  for (std::int64_t cell = 0; cell < 16; ++cell) EXPECT_EQ(hard[cell].item<bool>(), cell >= 4 && cell <= 6) << cell;
  // Half a cell inside and outside of the right edge, in the axis of x alone.
  const double inside = 1 / (1 + std::exp(-2.0)), across = 1 / (1 + std::exp(-2.0));
  EXPECT_NEAR(at3(c.soft(), 0, 0, 6), inside * across, 1e-14);
  EXPECT_NEAR(at3(c.soft(), 0, 0, 7), (1 - inside) * across, 1e-14);
  EXPECT_NEAR(inside, 0.88, 0.001);
}

TEST(Membership, NoRegionIsEmpty) {
  RegionCase c;
  c.size_nm2 = at::full({1, 16, 2}, 1e-9, at::kDouble);
  c.cell_nm = at::arange(16, at::kLong).view({1, 16});
  const at::Tensor soft = c.soft();
  EXPECT_FALSE((soft > 0.5).any().item<bool>());  // what the rule of the own cell is for
  EXPECT_TRUE(at::equal(hard_membership(soft, c.cell_nm)[0], at::eye(16, at::kDouble).to(at::kBool)));
  EXPECT_GE(soft.diagonal(0, 1, 2).min().item<double>(), 0.25);
}

TEST(Membership, RefusesSizesAndCellsThatDoNotMeet) {
  const RegionCase c;
  EXPECT_THROW(soft_membership(c.size_nm2, c.cell_nm.narrow(1, 0, 4), 4, 16), c10::Error);
  EXPECT_THROW(pooled_regions(c.soft(), c.cell_nkd.narrow(1, 0, 9)), c10::Error);
}

TEST(PooledRegions, AreMeansByWeight) {
  const RegionCase c;
  const at::Tensor soft = c.soft(), hard = hard_membership(soft, c.cell_nm);
  const at::Tensor by_soft = pooled_regions(soft, c.cell_nkd), by_hard = pooled_regions(hard, c.cell_nkd);
  for (std::int64_t n = 0; n < 2; ++n) {
    for (std::int64_t m = 0; m < 5; ++m) {
      at::Tensor sum = at::zeros({3}, at::kDouble), hard_sum = at::zeros({3}, at::kDouble);
      double weight = 0, count = 0;
      for (std::int64_t cell = 0; cell < 16; ++cell) {
        weight += at3(soft, n, m, cell);
        sum += c.cell_nkd[n][cell] * at3(soft, n, m, cell);
        if (!hard[n][m][cell].item<bool>()) continue;
        hard_sum += c.cell_nkd[n][cell];
        ++count;
      }
      EXPECT_LT(difference(by_soft[n][m], sum / weight), 1e-14);
      EXPECT_LT(difference(by_hard[n][m], hard_sum / count), 1e-14);
    }
  }
}

TEST(PooledRegions, GradientsOfWidthAndHeightAreFiniteDifferences) {
  RegionCase c;
  const at::Tensor weights = draw({22}, {2, 5, 3});
  const auto value = [&](const at::Tensor& size) {
    RegionCase moved = c;
    moved.size_nm2 = size;
    return (pooled_regions(moved.soft(), c.cell_nkd) * weights).sum();
  };
  const at::Tensor size = leaf(c.size_nm2);
  value(size).backward();
  constexpr double kStep = 1e-5;
  for (std::int64_t i = 0; i < size.numel(); ++i) {
    const at::Tensor step = at::zeros({size.numel()}, at::kDouble).index_fill_(0, at::full({1}, i, at::kLong), kStep);
    const at::Tensor moved = step.view(size.sizes());
    const double slope = (value(c.size_nm2 + moved) - value(c.size_nm2 - moved)).item<double>() / (2 * kStep);
    EXPECT_NEAR(size.grad().flatten()[i].item<double>(), slope, 1e-8);
    EXPECT_GT(std::abs(slope), 1e-4);
  }
}

TEST(PooledRegions, HardOnesGiveGradientToCellsOnly) {
  RegionCase c;
  c.size_nm2 = leaf(c.size_nm2);
  c.cell_nkd = leaf(c.cell_nkd);
  pooled_regions(hard_membership(c.soft(), c.cell_nm), c.cell_nkd).sum().backward();
  EXPECT_FALSE(c.size_nm2.grad().defined());
  EXPECT_GT(c.cell_nkd.grad().abs().sum().item<double>(), 1);
  pooled_regions(c.soft(), c.cell_nkd).sum().backward();  // the control
  EXPECT_TRUE(c.size_nm2.grad().defined());
}

/// From the head's parameters to pooled features: what trains the box.
TEST(PooledRegions, ReachTheWholeHead) {
  RegionHead head(3, 5, kRegionSide, Initializer(7));
  head.to(at::kCPU, at::kDouble);
  const at::Tensor cells = draw({23}, {2, 16, 3});
  const Regions top = top_regions(head.forward(cells), 4);
  const at::Tensor soft = soft_membership(top.boxes.size_nk2, top.cell_nm, kRegionSide, region_sharpness(kRegionSide));
  (pooled_regions(soft, cells).square().sum() + top.boxes.confidence_logit_nk.sum()).backward();
  for (const auto& [name, tensor] : head.parameters()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_GT(tensor.grad().abs().max().item<double>(), 1e-6) << name;
  }
  const at::Tensor bias = head.parameters()[1].tensor.grad();  // output.bias
  for (std::int64_t i = 0; i < 3; ++i) EXPECT_NE(bias[i].item<double>(), 0) << i;
}

}  // namespace
}  // namespace triptych

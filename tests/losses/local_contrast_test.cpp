// TCL's global-to-local loss against the numbers of its own code, the formula in plain loops, finite differences, and
// mistakes that must show.
#include "losses/local_contrast.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "core/module/autocast.h"
#include "tests/support/cpu_bytes.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

struct LocalCase {
  at::Tensor global_bd, local_nld, valid_nl;  // valid undefined: all
  double temperature = 0.07;
  LocalMean mean = LocalMean::kAll;
};

struct LocalResult {
  at::Tensor loss, global, temperature;
};

enum class Mistake { kNone, kOwnLocalsAreNegatives, kPaddingIsNegative, kMeanOverAllLocals };

/// The formula of the header, loop by loop, of a whole batch.
LocalResult plain(const LocalCase& c, Mistake mistake = Mistake::kNone) {
  const at::Tensor global = leaf(c.global_bd), temperature = leaf(at::scalar_tensor(c.temperature, at::kDouble));
  const std::int64_t b = global.size(0), l = c.local_nld.size(1);
  const at::Tensor valid = c.valid_nl.defined() ? c.valid_nl : at::ones({b, l}, at::kBool);
  at::Tensor loss = (global.sum() + temperature) * 0;
  const double all = valid.sum().item<double>();
  for (std::int64_t i = 0; i < b; ++i) {
    at::Tensor negative = valid.clone();  // [b, l]
    if (mistake == Mistake::kPaddingIsNegative) negative.fill_(true);
    if (mistake != Mistake::kOwnLocalsAreNegatives) negative[i].fill_(false);
    const at::Tensor negatives = c.local_nld.index({negative}).mv(global[i]) / temperature;
    const double own = valid[i].sum().item<double>();
    const bool over_all = c.mean == LocalMean::kAll || mistake == Mistake::kMeanOverAllLocals;
    for (std::int64_t k = 0; k < l; ++k) {
      if (!valid[i][k].item<bool>()) continue;
      const at::Tensor positive = c.local_nld[i][k].dot(global[i]).view({1}) / temperature;
      const at::Tensor one = -at::cat({positive, negatives}).log_softmax(0)[0];
      loss = loss + one / (over_all ? all : own * static_cast<double>(b));
    }
  }
  loss.backward();
  return {loss.detach(), global.grad(), temperature.grad()};
}

LocalResult of(const LocalCase& c) {
  const at::Tensor global = leaf(c.global_bd),
                   temperature = leaf(at::scalar_tensor(c.temperature, c.global_bd.options()));
  const at::Tensor loss = local_contrast_loss(global, {c.local_nld, c.valid_nl}, temperature, c.mean);
  loss.backward();
  return {loss.detach(), global.grad(), temperature.grad()};
}

/// Every row has a valid local; row 1, if `bare`, has none.
LocalCase draw_case(std::int64_t b, std::int64_t l, std::int64_t d, bool padded, bool bare, LocalMean mean) {
  LocalCase c{unit(draw({1}, {b, d})), unit(draw({2}, {b, l, d})), {}, 0.07, mean};
  if (padded) {
    c.valid_nl = at::arange(l).unsqueeze(0) <= at::arange(b).unsqueeze(1) % l;
    if (bare) c.valid_nl[1].fill_(false);
  }
  return c;
}

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  return difference(got, expected) / std::max(1e-300, expected.abs().max().item<double>());
}

void expect_same(const LocalResult& got, const LocalResult& expected, double tolerance) {
  const auto error = [&](const at::Tensor& a, const at::Tensor& b) {
    return difference(a, b) / std::max(1.0, b.abs().max().item<double>());
  };
  EXPECT_LT(error(got.loss, expected.loss), tolerance);
  EXPECT_LT(error(got.global, expected.global), tolerance);
  EXPECT_LT(error(got.temperature, expected.temperature), tolerance);
}

TEST(LocalContrast, GoldenCasesOfTcl) {
  const Golden file("tcl_lmi");
  int cases = 0, published = 0;
  for (const auto& [tensor, ignored] : file.tensors()) {
    const auto dot = tensor.find(".global");
    if (dot == std::string::npos) continue;
    const std::string name = tensor.substr(0, dot);
    SCOPED_TRACE(name);
    const auto read = [&](const std::string& part) { return file[name + "." + part]; };
    const bool text = file.tensors().count(name + ".mask") > 0;
    const LocalCase c{read("global"), read("local"), text ? read("mask") != 0 : at::Tensor(),
                      read("temp").item<double>(), text ? LocalMean::kSample : LocalMean::kAll};
    const LocalResult got = of(c);
    expect_same(got, plain(c), 1e-12);
    ++cases;
    if (file.tensors().count(name + ".loss") == 0) continue;  // the released code raises
    if (!std::isfinite(read("loss").item<double>())) {        // and here gives NaN
      EXPECT_EQ(name, "text_cls_only_row");
      EXPECT_EQ(got.global[1].abs().max().item<double>(), 0);
      continue;
    }
    expect_same(got, {read("loss"), read("grad_global"), read("grad_temp")}, 1e-12);
    ++published;
  }
  EXPECT_EQ(cases, 13);
  EXPECT_EQ(published, 10);
}

TEST(LocalContrast, IsThePlainFormula) {
  struct Size {
    std::int64_t b, l, d;
  };
  // One row, two of which one has no local, no or one local, one block of rows, its border, several.
  for (const auto& [b, l, d] : {Size{1, 3, 4}, Size{1, 1, 3}, Size{3, 0, 4}, Size{2, 3, 4}, Size{4, 1, 3},
                                Size{6, 5, 4}, Size{64, 2, 3}, Size{65, 2, 3}, Size{130, 3, 5}}) {
    for (const auto mean : {LocalMean::kAll, LocalMean::kSample}) {
      for (const bool padded : {false, true}) {
        if (padded && l == 0) continue;
        SCOPED_TRACE(std::to_string(b) + " rows, " + std::to_string(l) + " locals, " + (padded ? "padded, " : "") +
                     (mean == LocalMean::kAll ? "mean over all" : "mean by sample"));
        const LocalCase c = draw_case(b, l, d, padded, b > 1, mean);
        expect_same(of(c), plain(c), 1e-12);
      }
    }
  }
}

TEST(LocalContrast, RanksWithAllLocalsAreTheWholeBatch) {
  for (const bool padded : {false, true}) {
    const LocalCase c = draw_case(72, 4, 5, padded, padded, padded ? LocalMean::kSample : LocalMean::kAll);
    const LocalResult expected = plain(c);
    for (const int ranks : {1, 2, 3, 4}) {
      const std::int64_t b = 72 / ranks;
      std::vector<at::Tensor> loss, global, temperature;
      for (int rank = 0; rank < ranks; ++rank) {
        const at::Tensor rows = leaf(c.global_bd.narrow(0, rank * b, b)),
                         t = leaf(at::scalar_tensor(c.temperature, at::kDouble));
        const at::Tensor value = local_contrast_loss(rows, {c.local_nld, c.valid_nl, rank * b}, t, c.mean);
        value.backward();
        loss.push_back(value.detach());
        global.push_back(rows.grad());
        temperature.push_back(t.grad());
      }
      SCOPED_TRACE(ranks);
      expect_same({at::stack(loss).mean(), at::cat(global) / ranks, at::stack(temperature).mean()}, expected, 1e-12);
    }
  }
}

TEST(LocalContrast, FiniteDifferences) {
  LocalCase c = draw_case(4, 5, 3, true, true, LocalMean::kSample);
  const LocalResult r = of(c);
  const double step = 1e-6;
  const auto value = [&](double temperature) {
    return local_contrast_loss(c.global_bd, {c.local_nld, c.valid_nl}, at::scalar_tensor(temperature, at::kDouble),
                               c.mean)
        .item<double>();
  };
  auto* element = c.global_bd.data_ptr<double>();
  for (std::int64_t i = 0; i < c.global_bd.numel(); ++i) {
    const double kept = element[i];
    element[i] = kept + step;
    const double above = value(c.temperature);
    element[i] = kept - step;
    const double below = value(c.temperature);
    element[i] = kept;
    EXPECT_NEAR((above - below) / (2 * step), r.global.flatten()[i].item<double>(), 1e-7);
  }
  const double slope = (value(c.temperature + step) - value(c.temperature - step)) / (2 * step);
  EXPECT_NEAR(slope, r.temperature.item<double>(), 1e-5);
}

TEST(LocalContrast, PaddingMayHoldAnything) {
  LocalCase c = draw_case(5, 6, 4, true, true, LocalMean::kSample);
  const LocalResult expected = of(c);
  const at::Tensor ignored = c.valid_nl.logical_not().unsqueeze(2);
  for (const double content : {1e30, std::numeric_limits<double>::quiet_NaN()}) {
    c.local_nld = c.local_nld.masked_fill(ignored, content);
    expect_same(of(c), expected, 1e-15);
  }
}

TEST(LocalContrast, LogitsOfAThousandInSinglePrecision) {
  for (const bool aligned : {false, true}) {
    LocalCase c = draw_case(70, 4, 16, true, true, LocalMean::kSample);
    if (aligned) c.local_nld = unit(c.local_nld + 4 * c.global_bd.unsqueeze(1));
    c.temperature = 0.001;
    const LocalResult exact = plain(c);
    c.global_bd = c.global_bd.to(at::kFloat);
    c.local_nld = c.local_nld.to(at::kFloat);
    const LocalResult got = of(c);
    const auto near = [](const at::Tensor& a, const at::Tensor& b) {
      return difference(a, b) <= 1e-3 * std::max(1.0, b.abs().max().item<double>());
    };
    EXPECT_TRUE(near(got.loss, exact.loss)) << got.loss << exact.loss;
    EXPECT_TRUE(near(got.global, exact.global));
    EXPECT_TRUE(near(got.temperature, exact.temperature)) << got.temperature << exact.temperature;
  }
}

TEST(LocalContrast, LowerPrecisionIsSummedInSingle) {
  LocalCase c = draw_case(70, 4, 16, true, true, LocalMean::kSample);
  LocalCase half = c;
  half.global_bd = c.global_bd.to(at::kBFloat16);
  half.local_nld = c.local_nld.to(at::kBFloat16);
  c.global_bd = half.global_bd.to(at::kDouble);
  c.local_nld = half.local_nld.to(at::kDouble);
  const LocalResult exact = plain(c);
  const at::Tensor global = leaf(half.global_bd), t = leaf(at::scalar_tensor(0.07, at::kFloat));
  const at::Tensor loss = local_contrast_loss(global, {half.local_nld, half.valid_nl}, t, half.mean);
  loss.backward();
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  EXPECT_EQ(global.grad().scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(loss, exact.loss), 1e-6);
  EXPECT_LT(relative_error(global.grad(), exact.global), 1.0 / 256);
  EXPECT_LT(relative_error(t.grad(), exact.temperature), 1e-5);
  // Single precision stays so where autocast would round the products.
  LocalCase single = c;
  single.global_bd = c.global_bd.to(at::kFloat);
  single.local_nld = draw({5}, {70, 4, 16}).to(at::kFloat);
  const LocalResult outside = of(single);
  const AutocastScope autocast(at::kCPU, at::kFloat, at::kBFloat16);
  expect_same(of(single), outside, 1e-12);
}

TEST(LocalContrast, LocalsAreConstants) {
  const LocalCase c = draw_case(4, 3, 5, false, false, LocalMean::kAll);
  const at::Tensor local = leaf(c.local_nld), t = at::scalar_tensor(0.07, at::kDouble);
  EXPECT_FALSE(local_contrast_loss(c.global_bd, {local}, t, c.mean).requires_grad());
  const c10::NoGradGuard no_grad;
  EXPECT_FALSE(local_contrast_loss(leaf(c.global_bd), {local}, t, c.mean).requires_grad());
}

/// Bytes at the worst moment of the loss, beside what it is given.
std::int64_t peak_bytes(std::int64_t b, std::int64_t l, std::int64_t d) {
  const at::Tensor global = leaf(at::ones({b, d}, at::kFloat)), t = at::scalar_tensor(0.07, at::kFloat);
  const LocalKeys keys{at::ones({b, l, d}, at::kFloat), at::ones({b, l}, at::kBool)};
  const CpuBytes bytes;
  const at::Tensor loss = local_contrast_loss(global, keys, t, LocalMean::kSample);
  return bytes.peak();
}

/// O(b l): a block of 64 rows' logits, twice, and the locals without their padding; never [b, b, l].
TEST(LocalContrast, MemoryGrowsWithRowsTimesLocals) {
  constexpr std::int64_t kLocals = 24, kWidth = 64, kFloat = 4;
  for (const std::int64_t b : {512, 1024}) {
    const std::int64_t blocks = 2 * 64 * b * kLocals * kFloat, locals = b * kLocals * kWidth * kFloat;
    const std::int64_t peak = peak_bytes(b, kLocals, kWidth);
    RecordProperty("bytes_of_" + std::to_string(b) + "_rows", std::to_string(peak));
    EXPECT_GE(peak, blocks + locals) << b;
    EXPECT_LE(peak, 1.1 * static_cast<double>(blocks + locals)) << b;
    EXPECT_LT(peak, b * b * kLocals * kFloat) << b;  // control: one matrix of all logits
  }
  const auto small = static_cast<double>(peak_bytes(512, kLocals, kWidth));
  EXPECT_NEAR(static_cast<double>(peak_bytes(1024, kLocals, kWidth)) / small, 2, 0.02);
  EXPECT_NEAR(static_cast<double>(peak_bytes(512, 2 * kLocals, kWidth)) / small, 2, 0.05);
}

TEST(LocalContrast, MistakesAreSeen) {
  const LocalCase c = draw_case(6, 5, 4, true, false, LocalMean::kSample);
  const LocalResult right = of(c);
  EXPECT_LT(difference(right.loss, plain(c).loss), 1e-12);
  for (const auto mistake :
       {Mistake::kOwnLocalsAreNegatives, Mistake::kPaddingIsNegative, Mistake::kMeanOverAllLocals}) {
    EXPECT_GT(difference(right.loss, plain(c, mistake).loss), 1e-3);
    EXPECT_GT(difference(right.global, plain(c, mistake).global), 1e-3);
  }
  const at::Tensor t = at::scalar_tensor(0.07, at::kDouble), local = at::cat({c.local_nld, c.local_nld.roll(1, 0)});
  const auto with_own = [&](std::int64_t own) {
    return local_contrast_loss(c.global_bd, {local, {}, own}, t, c.mean).item<double>();
  };
  EXPECT_GT(std::abs(with_own(0) - with_own(6)), 1e-3);
}

TEST(LocalContrast, RefusesWhatDoesNotFit) {
  const LocalCase c = draw_case(4, 3, 5, true, false, LocalMean::kSample);
  const at::Tensor t = at::scalar_tensor(0.07, at::kDouble);
  const auto refused = [&](const LocalKeys& keys, const at::Tensor& temperature) {
    EXPECT_THROW(local_contrast_loss(c.global_bd, keys, temperature, c.mean), c10::Error);
  };
  refused({c.local_nld, c.valid_nl, 1}, t);
  refused({c.local_nld, c.valid_nl, -1}, t);
  refused({c.local_nld, c.valid_nl.to(at::kLong)}, t);
  refused({c.local_nld, c.valid_nl.narrow(1, 0, 2)}, t);
  refused({c.local_nld.narrow(2, 0, 4), c.valid_nl}, t);
  refused({at::Tensor(), c.valid_nl}, t);
  refused({c.local_nld, c.valid_nl}, at::scalar_tensor(0.0, at::kDouble));
}

/// Cell (y, x) of a pooled grid is the mean over rows floor(y side / cells) to ceil((y + 1) side / cells), likewise x.
at::Tensor plain_cells(const at::Tensor& patch_npd, std::int64_t side, std::int64_t cells) {
  std::vector<at::Tensor> out;
  for (std::int64_t y = 0; y < cells; ++y) {
    for (std::int64_t x = 0; x < cells; ++x) {
      std::vector<at::Tensor> members;
      for (std::int64_t row = y * side / cells; row * cells < (y + 1) * side; ++row) {
        for (std::int64_t column = x * side / cells; column * cells < (x + 1) * side; ++column) {
          members.push_back(patch_npd.select(1, row * side + column));
        }
      }
      out.push_back(at::stack(members).mean(0));
    }
  }
  return at::stack(out, 1);
}

TEST(PooledCells, BothFormsAreTheReleasedOneWhereItWorks) {
  const Golden file("tcl_lmi");
  EXPECT_LT(difference(pooled_cells(file["pool.in"], 0, CellPooling::kPublished), file["pool.out"]), 1e-15);
  EXPECT_LT(difference(pooled_cells(file["pool.in"], 4, CellPooling::kCells), file["pool.out"]), 1e-15);
  EXPECT_GT(difference(pooled_cells(file["pool.in"].transpose(1, 2).reshape({5, 256, 8}), 4, CellPooling::kCells),
                       file["pool.out"]),
            1e-3);
  for (const std::int64_t side : {4, 9, 16, 25}) {
    SCOPED_TRACE(side);
    const std::int64_t cells = published_cells(side);
    EXPECT_EQ(cells * cells, side);
    const at::Tensor patch = unit(draw({7}, {2, side * side, 3})), expected = plain_cells(patch, side, cells);
    EXPECT_LT(difference(pooled_cells(patch, 0, CellPooling::kPublished), expected), 1e-15);
    EXPECT_LT(difference(pooled_cells(patch, cells, CellPooling::kCells), expected), 1e-15);
  }
}

TEST(PooledCells, CellsDoesEveryGrid) {
  for (const std::int64_t side : {1, 8, 12, 14, 24}) {
    SCOPED_TRACE(side);
    const at::Tensor patch = unit(draw({8}, {2, side * side, 3}));
    for (const std::int64_t cells : {1, 4, 7}) {
      if (cells > side) continue;
      const at::Tensor got = pooled_cells(patch, cells, CellPooling::kCells);
      EXPECT_LT(difference(got, plain_cells(patch, side, cells)), 1e-15);
      EXPECT_TRUE(got.is_contiguous());
    }
    if (side == 1) continue;
    EXPECT_EQ(published_cells(side), 0);
    EXPECT_THROW(pooled_cells(patch, 4, CellPooling::kPublished), c10::Error);
  }
}

/// Windows of w = floor(sqrt(side)) that fit w times: the released code does these grids and no others.
TEST(PooledCells, PublishedWorksWhereItsWindowFitsAsOftenAsItIsWide) {
  const std::set<std::int64_t> works = {1, 4, 5, 9, 10, 11, 16, 17, 18, 19, 25, 26, 27, 28, 29};
  for (std::int64_t side = 1; side < 36; ++side) {
    const std::int64_t cells = published_cells(side);
    EXPECT_EQ(cells > 0, works.contains(side)) << side;
    if (cells == 0) continue;
    const at::Tensor patch = unit(draw({7}, {2, side * side, 3})),
                     grid = patch.view({2, side, side, 3}).narrow(1, 0, cells * cells).narrow(2, 0, cells * cells),
                     inner = grid.reshape({2, -1, 3});  // what the last window does not reach is left out
    EXPECT_EQ(cells, static_cast<std::int64_t>(std::sqrt(side))) << side;
    EXPECT_LT(difference(pooled_cells(patch, 0, CellPooling::kPublished), plain_cells(inner, cells * cells, cells)),
              1e-15)
        << side;
  }
}

TEST(PooledCells, RefusesWhatDoesNotFit) {
  const at::Tensor patch = draw({9}, {2, 16, 3});
  EXPECT_THROW(pooled_cells(patch, 0, CellPooling::kCells), c10::Error);
  EXPECT_THROW(pooled_cells(patch, 5, CellPooling::kCells), c10::Error);
  EXPECT_THROW(pooled_cells(draw({9}, {2, 17, 3}), 2, CellPooling::kCells), c10::Error);  // with the class token
  EXPECT_THROW(pooled_cells(patch[0], 2, CellPooling::kCells), c10::Error);
  EXPECT_THROW(published_cells(0), c10::Error);
}

}  // namespace
}  // namespace triptych

// Drawn negatives: how often each comes, what may never come, and scores at the ends of their range.
#include "losses/hard_negatives.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "core/types/batch.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor uniform(std::uint64_t key, at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  return at::empty(shape, type).uniform_(0, 1, keyed_generator(random_key(9, Purpose::kTest, {key}), at::kCPU));
}

at::Tensor labels(std::initializer_list<std::int64_t> values) {
  return at::tensor(std::vector<std::int64_t>(values), at::kLong);
}

constexpr std::int64_t kDraws = 20000;

/// How often each column of one row of scores comes in 20000 draws.
at::Tensor counts(const at::Tensor& score_n, const at::Tensor& forbidden_n, std::uint64_t key) {
  const std::int64_t n = score_n.size(0);
  const auto drawn = hard_negatives(score_n.expand({kDraws, n}), forbidden_n.expand({kDraws, n}),
                                    uniform(key, {kDraws, n}, score_n.scalar_type()));
  EXPECT_TRUE(drawn.valid_b.all().item<bool>());
  return at::bincount(drawn.index_b, {}, n).to(at::kDouble);
}

/// Of `counts` against `share`, over the columns with a share.
double chi_square(const at::Tensor& counts, const at::Tensor& share) {
  const at::Tensor expected = share * kDraws, off = counts - expected;
  return (off * off / expected).masked_fill(share == 0, 0).sum().item<double>();
}

TEST(HardNegatives, FollowTheSoftmaxOverAllowedColumns) {
  const std::int64_t n = 8;
  at::Tensor forbidden = at::zeros({n}, at::kBool);
  forbidden[2].fill_(true);
  forbidden[5].fill_(true);
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const std::uint64_t key : {1, 2}) {
      const at::Tensor score = draw({key}, {n}).to(type);
      const at::Tensor share = score.to(at::kDouble).masked_fill(forbidden, -kInfinity).softmax(0);
      const at::Tensor got = counts(score, forbidden, key);
      EXPECT_EQ(got[2].item<double>() + got[5].item<double>(), 0);
      // 5 degrees of freedom: above 25 once in 7000
      EXPECT_LT(chi_square(got, share), 25);
      EXPECT_LT(chi_square(counts(score + 5000, forbidden, key), share), 25);  // only differences count
      // Mistakes: another temperature, or draws without the scores
      EXPECT_GT(chi_square(got, (score.to(at::kDouble) * 1.2).masked_fill(forbidden, -kInfinity).softmax(0)), 60);
      EXPECT_GT(chi_square(got, forbidden.logical_not().to(at::kDouble) / 6), 1000);
    }
  }
}

TEST(HardNegatives, NeverOwnNorTheSameLabel) {
  const std::int64_t b = 6, n = 12, own = 3;
  const at::Tensor label_n = labels({4, 7, kNoLabel, 1, kNoLabel, 4, 7, kNoLabel, 1, 4, 9, kNoLabel});
  const at::Tensor label_b = label_n.narrow(0, own, b),
                   forbidden = forbidden_pairs(b, n, own, label_b, label_n, at::kCPU);
  at::Tensor score = at::zeros({b, n});
  score.masked_fill_(forbidden, 50);  // tempting
  at::Tensor seen = at::zeros({b, n}, at::kBool);
  for (std::uint64_t round = 0; round < 400; ++round) {
    const auto drawn = hard_negatives(score, forbidden, uniform(round, {b, n}));
    seen.scatter_(1, drawn.index_b.unsqueeze(1), true);
  }
  EXPECT_TRUE(at::equal(seen, forbidden.logical_not()));  // and every other one comes
}

TEST(HardNegatives, ScoresAtTheEndsOfTheirRange) {
  const std::int64_t b = 5, n = 7;
  const at::Tensor forbidden = forbidden_pairs(b, n, 1, {}, {}, at::kCPU);
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const double same : {-1e30, 1e30, -kInfinity, kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
      SCOPED_TRACE(same);
      at::Tensor seen = at::zeros({b, n}, at::kBool);
      for (std::uint64_t round = 0; round < 200; ++round) {
        const auto drawn = hard_negatives(at::full({b, n}, same, type), forbidden, uniform(round, {b, n}));
        EXPECT_TRUE(drawn.valid_b.all().item<bool>());
        seen.scatter_(1, drawn.index_b.unsqueeze(1), true);
      }
      EXPECT_TRUE(at::equal(seen, forbidden.logical_not()));  // evenly
    }
    // What is not a number and -inf come last, wherever the rest lies; the forbidden one never.
    for (const double bad : {-kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
      at::Tensor score = at::full({b, n}, bad, type);
      score.select(1, 6).fill_(-1000);
      score.masked_fill_(forbidden, 1e30);
      const auto drawn = hard_negatives(score, forbidden, uniform(3, {b, n}));
      EXPECT_TRUE(drawn.index_b.eq(6).all().item<bool>()) << drawn.index_b;
    }
  }
  // Weights of the published form vanish together here; the logits still say which is best.
  at::Tensor score = at::full({1, 4}, -1000.0);
  score[0][3] = 0;
  score[0][1] = -900;
  at::Tensor own = at::zeros({1, 4}, at::kBool);
  own[0][3] = true;
  EXPECT_EQ(score.softmax(1).masked_fill(own, 0).sum().item<double>(), 0);
  EXPECT_EQ(hard_negatives(score, own, uniform(1, {1, 4})).index_b.item<std::int64_t>(), 1);
}

TEST(HardNegatives, DrawsAtTheEndsOfTheirRange) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const double u : {0.0, 1.0}) {
      const auto drawn = hard_negatives(at::arange(4, type).unsqueeze(0), forbidden_pairs(1, 4, 3, {}, {}, at::kCPU),
                                        at::full({1, 4}, u, type));
      EXPECT_EQ(drawn.index_b.item<std::int64_t>(), 2);
    }
  }
}

TEST(HardNegatives, RowsWithoutAllowedColumnsSaySo) {
  at::Tensor forbidden = at::zeros({3, 4}, at::kBool);
  forbidden[1].fill_(true);
  for (const double score : {0.0, 1e30, std::numeric_limits<double>::quiet_NaN()}) {
    const auto drawn = hard_negatives(at::full({3, 4}, score), forbidden, uniform(1, {3, 4}));
    EXPECT_TRUE(at::equal(drawn.valid_b, at::tensor({1, 0, 1}).to(at::kBool)));
    EXPECT_EQ(drawn.index_b[1].item<std::int64_t>(), 0);
    EXPECT_EQ(drawn.index_b.scalar_type(), at::kLong);
  }
  // A batch of one, where the published code draws for ever.
  const auto one = hard_negatives(at::zeros({1, 1}), forbidden_pairs(1, 1, 0, {}, {}, at::kCPU), uniform(1, {1, 1}));
  EXPECT_FALSE(one.valid_b.item<bool>());
}

TEST(ForbiddenPairs, OwnPairsAndEqualLabels) {
  const at::Tensor label_n = labels({4, kNoLabel, 4, kNoLabel, 2}), label_b = label_n.narrow(0, 2, 3);
  const at::Tensor got = forbidden_pairs(3, 5, 2, label_b, label_n, at::kCPU);
  const at::Tensor expected =
      at::tensor({1, 0, 1, 0, 0, /**/ 0, 0, 0, 1, 0, /**/ 0, 0, 0, 0, 1}).view({3, 5}).to(at::kBool);
  EXPECT_TRUE(at::equal(got, expected)) << got;
  const at::Tensor own = forbidden_pairs(3, 5, 2, {}, {}, at::kCPU);
  EXPECT_EQ(own.sum().item<std::int64_t>(), 3);
  EXPECT_FALSE(at::equal(own, expected));                                    // labels count
  EXPECT_FALSE(at::equal(forbidden_pairs(3, 5, 1, {}, {}, at::kCPU), own));  // and so does the offset
}

TEST(HardNegatives, RefusesWhatDoesNotFit) {
  const at::Tensor score = at::zeros({2, 3}), forbidden = at::zeros({2, 3}, at::kBool), u = uniform(1, {2, 3});
  EXPECT_THROW(hard_negatives(score, forbidden.to(at::kLong), u), c10::Error);
  EXPECT_THROW(hard_negatives(score, forbidden.t(), u), c10::Error);
  EXPECT_THROW(hard_negatives(score, forbidden, u.t()), c10::Error);
  EXPECT_THROW(hard_negatives(score, forbidden, u.to(at::kBFloat16)), c10::Error);
  EXPECT_THROW(hard_negatives(at::zeros({2, 0}), at::zeros({2, 0}, at::kBool), uniform(1, {2, 0})), c10::Error);
  EXPECT_THROW(forbidden_pairs(2, 3, 2, {}, {}, at::kCPU), c10::Error);
  EXPECT_THROW(forbidden_pairs(2, 3, -1, {}, {}, at::kCPU), c10::Error);
  EXPECT_THROW(forbidden_pairs(2, 3, 0, labels({1, 2}), {}, at::kCPU), c10::Error);
  EXPECT_THROW(forbidden_pairs(2, 3, 0, labels({1, 2}), labels({1, 2}), at::kCPU), c10::Error);
  EXPECT_THROW(forbidden_pairs(2, 3, 0, labels({1, 2}).to(at::kInt), labels({1, 2, 3}), at::kCPU), c10::Error);
}

}  // namespace
}  // namespace triptych

// The interleaving of corpora against a count by hand.
#include "data/mixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/errors.h"

namespace triptych {
namespace {

const std::vector<std::vector<std::int64_t>> kSizes = {
    {1}, {7}, {1, 1}, {5, 3}, {1, 1000}, {1000, 1}, {2, 3, 5}, {333, 333, 334}, {1, 1, 1, 997}, {40, 1, 300, 7, 2}};

TEST(MixtureTest, EveryPlaceIsOneSlotOfOneSource) {
  for (const auto& sizes : kSizes) {
    const Mixture mixture(sizes);
    std::vector<std::int64_t> seen(sizes.size(), 0);
    for (std::int64_t place = 0; place < mixture.period(); ++place) {
      for (std::size_t k = 0; k < sizes.size(); ++k) ASSERT_EQ(mixture.before(static_cast<int>(k), place), seen[k]);
      const auto slot = mixture.at(place);
      ASSERT_EQ(slot.index, seen.at(static_cast<std::size_t>(slot.source))++);
    }
    EXPECT_EQ(seen, sizes);
  }
}

/// After m of n places a source of size a has m a / n slots, but for less than one for each source before it and
/// itself.
TEST(MixtureTest, SourcesAreSpreadEvenly) {
  for (const auto& sizes : kSizes) {
    const Mixture mixture(sizes);
    const auto all = static_cast<double>(mixture.period());
    for (std::int64_t place = 0; place <= mixture.period(); ++place) {
      for (std::size_t k = 0; k < sizes.size(); ++k) {
        const auto share = static_cast<double>(place) * static_cast<double>(sizes[k]) / all;
        EXPECT_LT(std::abs(static_cast<double>(mixture.before(static_cast<int>(k), place)) - share),
                  static_cast<double>(k) + 1.001);
      }
    }
  }
}

TEST(MixtureTest, HugeCorporaDoNotOverflow) {
  const std::int64_t big = std::int64_t{1} << 39;
  const Mixture mixture({big, big / 2, 3});
  const auto last = mixture.at(mixture.period() - 1);
  EXPECT_EQ(mixture.before(last.source, mixture.period()) - 1, last.index);
  EXPECT_EQ(mixture.before(0, mixture.period()), big);
  EXPECT_EQ(mixture.before(1, mixture.period()), big / 2);
  EXPECT_EQ(mixture.before(2, mixture.period()), 3);
}

/// 0.6 of 1,000 is more than half a record, and still none is left for it.
TEST(BlockQuotasTest, ACorpusWithoutARecordIsRefused) {
  EXPECT_EQ(block_quotas({1, 998, 1}).front(), 1);
  try {
    block_quotas({0.6, 499.7, 499.7});
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "data.corpora[0].weight: its share of the 1000 records of a block is rounded to none, so the corpus "
                 "would never be drawn; raise its weight");
  }
}

TEST(WholeQuotasTest, LargestRemainderFirst) {
  using testing::ElementsAre;
  EXPECT_THAT(whole_quotas({1}, 1000), ElementsAre(1000));
  EXPECT_THAT(whole_quotas({1, 1, 1}, 1000), ElementsAre(334, 333, 333));
  EXPECT_THAT(whole_quotas({0.5, 0.25, 0.25}, 1000), ElementsAre(500, 250, 250));
  EXPECT_THAT(whole_quotas({2, 1}, 1000), ElementsAre(667, 333));
  EXPECT_THAT(whole_quotas({1, 2, 4}, 1000), ElementsAre(143, 286, 571));  // 142.86, 285.71, 571.43
  EXPECT_THAT(whole_quotas({1e-9, 1}, 1000), ElementsAre(0, 1000));
}

}  // namespace
}  // namespace triptych

// Keys, streams, permutations: fixed values, statistics, bijectivity.
#include "core/base/random_key.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "tests/support/property.h"

namespace triptych {
namespace {

// The values of this test were computed by an independent program from the formulas in random_key.cpp. They decide the
// bits of existing runs: if this test fails, the code is wrong, not the numbers.
TEST(RandomKey, FixedValues) {
  EXPECT_EQ(random_key({0}), 0x418205a182100e56u);
  EXPECT_EQ(random_key({0, 0}), 0xbf0ad062d7ab0dccu);
  EXPECT_EQ(random_key({1, 2}), 0x5b1898d362ba2u);
  EXPECT_EQ(random_key({2, 1}), 0x4d94b88c1e767fe8u);
}

TEST(RandomKey, PurposeAndPlacesAreWordsInOrder) {
  std::uint64_t key = random_key({7, static_cast<std::uint64_t>(Purpose::kTest)});
  EXPECT_EQ(random_key(7, Purpose::kTest), key);
  key = random_key({key, 3});
  EXPECT_EQ(random_key(7, Purpose::kTest, {3}), key);
  EXPECT_EQ(random_key(7, Purpose::kTest, {3, 9}), random_key({key, 9}));
}

TEST(RandomKey, NearWordsGiveFarKeys) {
  std::set<std::uint64_t> keys;
  double flipped = 0;
  int pairs = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    for (std::uint64_t place = 0; place < 100; ++place) {
      const auto key = random_key(seed, Purpose::kCrop, {place});
      keys.insert(key);
      flipped += std::popcount(key ^ random_key(seed, Purpose::kCrop, {place ^ 1}));
      ++pairs;
    }
  }
  EXPECT_EQ(keys.size(), 10000u);
  EXPECT_NEAR(flipped / pairs, 32, 0.25);  // deviation of the mean: 4 / sqrt(10000) = 0.04
}

TEST(RandomStream, FixedValues) {
  RandomStream bits(42);
  for (const auto expected : {0xda95f8cdc55f04e5u, 0xe0079be7485c23eau, 0x4ac60fdc337255eau, 0xbbf5bce55b4fa71eu}) {
    EXPECT_EQ(bits.bits(), expected);
  }
  RandomStream uniform(42);
  for (const double expected : {0.8538508894320067, 0.8751161040930673, 0.2920846855735786}) {
    EXPECT_EQ(uniform.uniform(), expected);
  }
  RandomStream below(42);
  for (const int expected : {8, 8, 2, 7, 5, 1, 6, 9, 4, 8, 6, 9}) EXPECT_EQ(below.below(10), expected);
  RandomStream normal(42);  // by libm's log and cos: not to the last bit
  for (const double expected : {1.3877801444559446, -0.08228376592632528, 0.9041662817042547}) {
    EXPECT_NEAR(normal.normal(), expected, 1e-12);
  }
}

/// Sum of (observed - expected)^2 / expected over equally likely cells.
double chi_square(const std::vector<int>& counts, double expected) {
  double sum = 0;
  for (const int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(RandomStream, BelowIsUnbiased) {
  for (const int n : {1, 2, 3, 7, 10, 100, 1000}) {
    RandomStream stream(random_key(5, Purpose::kTest, {static_cast<std::uint64_t>(n)}));
    std::vector<int> counts(static_cast<std::size_t>(n));
    for (int i = 0; i < 200 * n; ++i) ++counts.at(static_cast<std::size_t>(stream.below(n)));
    // chi-square with n - 1 degrees: mean n - 1, deviation sqrt(2 (n - 1)).
    EXPECT_NEAR(chi_square(counts, 200), n - 1, 4 * std::sqrt(2.0 * n) + 4) << "n = " << n;
  }
}

TEST(RandomStream, BelowIsUnbiasedWhereShortcutsAreNot) {
  // n = 3 * 2^61. The remainder of 64 bits would prefer small results (3 : 3 : 2 by third of the range), the high word
  // of bits * n without rejection would prefer some residues (3 : 3 : 2 by remainder of 3).
  const std::int64_t n = std::int64_t{3} << 61;
  RandomStream stream(random_key(6, Purpose::kTest));
  std::vector<int> by_third(3), by_residue(3);
  for (int i = 0; i < 30000; ++i) {
    const auto draw = static_cast<std::uint64_t>(stream.below(n));
    ++by_third.at(draw >> 61);
    ++by_residue.at(draw % 3);
  }
  EXPECT_LT(chi_square(by_third, 10000), 14);  // 2 degrees: P(> 14) = 0.001
  EXPECT_LT(chi_square(by_residue, 10000), 14);
}

TEST(RandomStream, UniformKeepsItsRange) {
  EXPECT_TRUE(holds("low <= x < high", [](std::uint64_t key) {
    RandomStream stream(key);
    RC_ASSERT(stream.uniform() < 1);
    const double x = stream.uniform(0.75, 4.0 / 3);
    RC_ASSERT(x >= 0.75 && x < 4.0 / 3);
    const double tiny = stream.uniform(1, std::nextafter(1.0, 2.0));  // only `low` fits
    RC_ASSERT(tiny == 1);
    RC_ASSERT(stream.uniform(3, 3) == 3);
  }));
}

TEST(RandomStream, UniformFillsTheInterval) {
  RandomStream stream(random_key(8, Purpose::kTest));
  std::vector<int> counts(64);
  for (int i = 0; i < 64 * 500; ++i) ++counts.at(static_cast<std::size_t>(stream.uniform() * 64));
  EXPECT_NEAR(chi_square(counts, 500), 63, 45);  // 63 degrees: deviation 11.2
}

TEST(RandomStream, NormalHasItsMoments) {
  RandomStream stream(random_key(9, Purpose::kTest));
  double sum = 0, squares = 0, fourth = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.015);
  EXPECT_NEAR(squares / kDraws, 1, 0.02);
  EXPECT_NEAR(fourth / kDraws, 3, 0.15);
}

TEST(RandomStream, StreamsOfNeighbouringKeysShareNothing) {
  // A counter added to the key would make the stream of key + 1 a shifted copy of that of key.
  std::set<std::uint64_t> seen;
  for (std::uint64_t key = 0; key < 100; ++key) {
    RandomStream stream(key);
    for (int i = 0; i < 100; ++i) seen.insert(stream.bits());
  }
  EXPECT_EQ(seen.size(), 10000u);
}

TEST(RandomStream, RefusesAnEmptyRange) {
  RandomStream stream(1);
  EXPECT_THROW(stream.below(0), std::invalid_argument);
  EXPECT_THROW(stream.below(-5), std::invalid_argument);
}

TEST(KeyedPermutation, FixedValues) {
  const KeyedPermutation ten(42, 10);
  const std::array expected = {0, 3, 8, 2, 7, 1, 5, 6, 9, 4};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ten(i), expected[static_cast<std::size_t>(i)]);
  const KeyedPermutation large(42, 1000000000000);
  EXPECT_EQ(large(0), 899087754083);
  EXPECT_EQ(large(1), 100448195848);
  EXPECT_EQ(large(2), 845795182918);
}

void expect_bijective(std::uint64_t key, std::int64_t n) {
  const KeyedPermutation permutation(key, n);
  std::vector<bool> hit(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    const auto to = permutation(i);
    ASSERT_TRUE(to >= 0 && to < n) << "n = " << n;
    ASSERT_FALSE(hit[static_cast<std::size_t>(to)]) << "n = " << n << ": " << to << " is hit twice";
    hit[static_cast<std::size_t>(to)] = true;
  }
}

TEST(KeyedPermutation, IsBijectiveForEverySmallSize) {
  for (std::int64_t n = 1; n <= 300; ++n) expect_bijective(static_cast<std::uint64_t>(n) * 77, n);
}

TEST(KeyedPermutation, IsBijectiveForDrawnSizes) {
  EXPECT_TRUE(holds("bijective", [](std::uint64_t key) {
    const auto n = *rc::gen::inRange<std::int64_t>(1, 20000);
    const KeyedPermutation permutation(key, n);
    std::vector<bool> hit(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) {
      const auto to = static_cast<std::size_t>(permutation(i));
      RC_ASSERT(to < hit.size() && !hit[to]);
      hit[to] = true;
    }
  }));
}

TEST(KeyedPermutation, HugeSizesStayInRange) {
  for (const std::int64_t n : {std::int64_t{1} << 40, (std::int64_t{1} << 40) + 1, INT64_MAX}) {
    const KeyedPermutation permutation(3, n);
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < 1000; ++i) {
      const auto to = permutation(n - 1 - i);
      ASSERT_TRUE(to >= 0 && to < n);
      seen.insert(to);
    }
    EXPECT_EQ(seen.size(), 1000u);
  }
}

TEST(KeyedPermutation, EveryPermutationOfFourIsAboutAsLikely) {
  std::map<std::vector<std::int64_t>, int> counts;
  for (std::uint64_t i = 0; i < 24 * 200; ++i) {
    const KeyedPermutation permutation(random_key(10, Purpose::kTest, {i}), 4);
    ++counts[{permutation(0), permutation(1), permutation(2), permutation(3)}];
  }
  ASSERT_EQ(counts.size(), 24u);
  std::vector<int> cells;
  for (const auto& [order, count] : counts) cells.push_back(count);
  EXPECT_LT(chi_square(cells, 200), 60);  // 23 degrees: deviation 6.8
}

TEST(KeyedPermutation, EveryPlaceIsEquallyLikely) {
  constexpr int kSize = 37;
  std::vector<int> counts(kSize * kSize);
  for (std::uint64_t i = 0; i < kSize * 100; ++i) {
    const KeyedPermutation permutation(random_key(11, Purpose::kTest, {i}), kSize);
    for (int place = 0; place < kSize; ++place) ++counts[static_cast<std::size_t>(place * kSize + permutation(place))];
  }
  const double degrees = (kSize - 1) * (kSize - 1);
  EXPECT_NEAR(chi_square(counts, 100), degrees, 5 * std::sqrt(2 * degrees));
}

TEST(KeyedPermutation, RefusesWhatIsOutside) {
  EXPECT_THROW(KeyedPermutation(1, 0), std::invalid_argument);
  const KeyedPermutation permutation(1, 5);
  EXPECT_EQ(permutation.size(), 5);
  EXPECT_THROW(permutation(5), std::out_of_range);
  EXPECT_THROW(permutation(-1), std::out_of_range);
}

}  // namespace
}  // namespace triptych

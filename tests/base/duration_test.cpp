// Lengths as steps, and "is it time".
#include "core/base/duration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "tests/support/property.h"

namespace triptych {
namespace {

constexpr RunGeometry kRun{.global_batch = 256, .records_per_epoch = 1000};

TEST(Duration, BecomesSteps) {
  EXPECT_EQ(steps(2000).steps(kRun), 2000);
  EXPECT_EQ(samples(2560).steps(kRun), 10);
  EXPECT_EQ(samples(2559).steps(kRun), 9);
  EXPECT_EQ(epochs(1).steps(kRun), 3);    // floor(1000 / 256)
  EXPECT_EQ(epochs(10).steps(kRun), 39);  // floor(10000 / 256), not 10 * 3
  EXPECT_EQ(epochs(0.5).steps(kRun), 1);
}

TEST(Duration, APositiveOneIsAtLeastOneStepAndZeroIsNone) {
  EXPECT_EQ(samples(1).steps(kRun), 1);
  EXPECT_EQ(epochs(0.001).steps(kRun), 1);
  EXPECT_EQ(steps(0).steps(kRun), 0);
  EXPECT_EQ(epochs(0).steps(kRun), 0);
}

TEST(Duration, FractionsOfEpochsAreNotLostToRounding) {
  const RunGeometry one{.global_batch = 1, .records_per_epoch = 100};
  EXPECT_EQ(epochs(0.29).steps(one), 29);  // 0.29 * 100 = 28.999999999999996
  EXPECT_EQ(epochs(0.57).steps(one), 57);
  EXPECT_TRUE(epochs(0.29).due(29, one));
  EXPECT_FALSE(epochs(0.29).due(28, one));
}

TEST(Duration, HugeOnesStayDefined) {
  const RunGeometry large{.global_batch = 1, .records_per_epoch = 1'000'000'000'000};
  EXPECT_GT(epochs(0x1p53).steps(large), 0);
  EXPECT_FALSE(epochs(0x1p53).due(1, large));
}

TEST(Duration, DueInSteps) {
  EXPECT_FALSE(steps(5).due(4, kRun));
  EXPECT_TRUE(steps(5).due(5, kRun));
  EXPECT_TRUE(steps(5).due(10, kRun));
  EXPECT_TRUE(steps(1).due(1, kRun));
  EXPECT_FALSE(steps(5).due(0, kRun));
}

TEST(Duration, DueWhenAMultipleIsCrossed) {
  // Epochs end at samples 1000, 2000, 3000: inside steps 4 (769..1024), 8 (..2048), 12 (..3072).
  for (std::int64_t done = 1; done <= 12; ++done) EXPECT_EQ(epochs(1).due(done, kRun), done % 4 == 0) << done;
  EXPECT_TRUE(samples(512).due(2, kRun));
  EXPECT_FALSE(samples(512).due(3, kRun));
}

TEST(Duration, ZeroIsNeverDue) {
  for (std::int64_t done = 0; done < 100; ++done) {
    EXPECT_FALSE(steps(0).due(done, kRun) || samples(0).due(done, kRun) || epochs(0).due(done, kRun));
  }
}

// Multiples of `period` samples in (from, to], counted one by one.
std::int64_t multiples_in(std::int64_t period, std::int64_t from, std::int64_t to) {
  std::int64_t count = 0;
  for (std::int64_t m = period; m <= to; m += period) count += m > from;
  return count;
}

TEST(Duration, EveryMultipleIsDueOnceAndNoneIsSkipped) {
  EXPECT_TRUE(holds("due exactly when a multiple lies in the step", [] {
    const RunGeometry run{.global_batch = *rc::gen::inRange<std::int64_t>(1, 50),
                          .records_per_epoch = *rc::gen::inRange<std::int64_t>(1, 300)};
    const auto period = *rc::gen::inRange<std::int64_t>(1, 500);
    const auto whole_epochs = *rc::gen::inRange<std::int64_t>(1, 4);
    for (std::int64_t done = 1; done <= 100; ++done) {
      const auto from = (done - 1) * run.global_batch, to = done * run.global_batch;
      RC_ASSERT(samples(static_cast<double>(period)).due(done, run) == (multiples_in(period, from, to) > 0));
      RC_ASSERT(epochs(static_cast<double>(whole_epochs)).due(done, run) ==
                (multiples_in(whole_epochs * run.records_per_epoch, from, to) > 0));
      RC_ASSERT(steps(static_cast<double>(period)).due(done, run) == (done % period == 0));
    }
  }));
}

TEST(Duration, FractionsOfEpochsComeAsOftenAsTheyShould) {
  EXPECT_TRUE(holds("k parts of an epoch are due k times an epoch", [] {
    const auto parts = *rc::gen::inRange<std::int64_t>(1, 20);
    const RunGeometry run{.global_batch = *rc::gen::inRange<std::int64_t>(1, 30), .records_per_epoch = 997};
    const auto length = epochs(1.0 / static_cast<double>(parts));
    RC_PRE(run.global_batch * parts <= run.records_per_epoch);  // a step crosses one multiple at most
    std::int64_t due = 0;
    const std::int64_t last = (3 * run.records_per_epoch + run.global_batch - 1) / run.global_batch;
    for (std::int64_t done = 1; done <= last; ++done) due += length.due(done, run);
    RC_ASSERT(due >= 3 * parts);  // the last step may reach into the fourth epoch
    RC_ASSERT(due <= 3 * parts + 1);
  }));
}

TEST(Duration, Text) {
  EXPECT_EQ(steps(2000).text(), "{steps: 2000}");
  EXPECT_EQ(samples(1e7).text(), "{samples: 10000000}");
  EXPECT_EQ(epochs(0.1).text(), "{epochs: 0.1}");
}

}  // namespace
}  // namespace triptych

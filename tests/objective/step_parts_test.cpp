// Times of a step's parts: none is counted twice, and measuring changes no bit.
#include "core/objective/step_parts.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <thread>

#include "tests/objective/tiny_tcl.h"

namespace triptych {
namespace {

void sleep_ms(int count) {
  std::this_thread::sleep_for(std::chrono::milliseconds(count));
}

TEST(StepParts, APartWithinAnotherStopsItsTime) {
  int waits = 0;
  StepParts parts([&] { ++waits; });
  const auto begin = Clock::now();
  {
    const StepParts::Timed outer(&parts, "outer");
    sleep_ms(5);
    {
      const StepParts::Timed inner(&parts, "inner");
      sleep_ms(40);
    }
    sleep_ms(5);
    EXPECT_THROW(parts.take(), std::logic_error);  // still running
  }
  { const StepParts::Timed again(&parts, "inner"); }
  const double all = seconds_since(begin);
  EXPECT_EQ(waits, 6);
  const auto counted = parts.take();
  ASSERT_EQ(counted.size(), 2U);
  EXPECT_EQ(counted[0].name, "outer");
  EXPECT_EQ(counted[1].name, "inner");
  EXPECT_GE(counted[0].seconds, 0.010);
  EXPECT_GE(counted[1].seconds, 0.040);
  EXPECT_LE(counted[0].seconds + counted[1].seconds, all);
  EXPECT_TRUE(parts.take().empty());
  const StepParts::Timed nobody_measures(nullptr, "nothing");
}

TEST(StepParts, AnErrorPassesWithoutAnotherWait) {
  int waits = 0;
  StepParts parts([&] { ++waits; });
  EXPECT_THROW(
      {
        const StepParts::Timed timed(&parts, "broken");
        throw std::runtime_error("the device is lost");
      },
      std::runtime_error);
  EXPECT_EQ(waits, 1);
}

TEST(StepParts, TclNamesItsPartsAndMeasuringChangesNoBit) {
  run_ranks(1, [](Collectives& comm) {
    const auto step = [&](StepParts* parts) {
      TclObjective objective(tiny_tcl(), tiny_fusion_model(), tiny_facts(), in_fp64());
      StepScope scope({.step = kStep, .samples_seen = 1000, .epoch = 0}, kSeed, kFp64, comm, nullptr);
      scope.time_parts(parts);
      objective.begin_step(scope);
      objective.accumulate(cut(fusion_batch(), 6), scope);
      objective.after_update(scope);
      return gradients_of(objective.module());
    };
    StepParts parts([] {});
    const auto begin = Clock::now();
    const auto measured = step(&parts);
    const double all = seconds_since(begin);
    EXPECT_EQ(difference(measured, step(nullptr)), 0);
    std::set<std::string> names;
    double sum = 0;
    for (const auto& part : parts.take()) {
      EXPECT_GT(part.seconds, 0) << part.name;
      names.insert(part.name);
      sum += part.seconds;
    }
    const std::set<std::string> expected = {"momentum", "student", "teacher",  "losses",
                                            "itm",      "mlm",     "backward", "queue"};
    EXPECT_EQ(names, expected);
    EXPECT_LE(sum, all);
  });
}

}  // namespace
}  // namespace triptych

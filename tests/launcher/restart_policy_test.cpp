// The rules of restarting, with a clock that is set.
#include "distributed/launcher/restart_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <climits>
#include <memory>

#include "core/base/errors.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Policy {
  explicit Policy(RestartConfig config = {}, std::int64_t global_batch = 0, RestartPolicy::BatchText text = nullptr)
      : policy(
            config, [this] { return now_s; }, global_batch, std::move(text)) {}
  Policy(const Policy&) = delete;

  Decision fails(int code, bool rank_known_dead = false, const std::string& host = "") {
    return policy.failed({code, rank_known_dead, "rank 1 broke", host}, can_run_without);
  }
  /// A step that was never done before.
  void new_step() { policy.step_done(++steps); }

  double now_s = 1000;
  std::int64_t steps = 0;
  RestartPolicy::CanRunWithout can_run_without;
  RestartPolicy policy;
};

RestartConfig many_restarts() {
  RestartConfig config;
  config.max_restarts = 1000;
  config.same_step_failures = 1000;
  return config;
}

TEST(RestartPolicy, WhichCodesAreRestarted) {
  for (const int code : {5, 7, 129, 134, 137, 139, 143, 192}) EXPECT_TRUE(Policy().fails(code).restart) << code;
  for (const int code : {0, 1, 2, 3, 4, 6, 75, 127, 128, 193, 205, 255}) {
    const auto decision = Policy().fails(code);
    EXPECT_FALSE(decision.restart) << code;
    EXPECT_EQ(decision.code, code);
    EXPECT_THAT(decision.text, HasSubstr("rank 1 broke"));
  }
  for (const int code : {1, 205, 255}) EXPECT_TRUE(Policy().fails(code, true).restart) << code;
  for (const int code : {0, 2, 3, 4, 6, 75}) EXPECT_FALSE(Policy().fails(code, true).restart) << code;
}

TEST(RestartPolicy, ThreeInAnHourThenTheCauseEndsIt) {
  Policy run;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(run.fails(137).restart);
    run.new_step();
    run.now_s += 10;
  }
  const auto decision = run.fails(139);
  EXPECT_FALSE(decision.restart);
  EXPECT_EQ(decision.code, 139);
  EXPECT_THAT(decision.text, HasSubstr("--max-restarts"));
}

TEST(RestartPolicy, WhatIsOlderThanTheWindowIsForgotten) {
  Policy run;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(run.fails(137).restart);
    run.new_step();
    run.now_s += 100;
  }
  run.now_s = 1000 + 3599;
  EXPECT_FALSE(run.fails(137).restart);
  run.new_step();
  run.now_s = 1000 + 3600;
  EXPECT_EQ(run.policy.restarts_in_window(), 3);
  EXPECT_TRUE(run.fails(137).restart);
}

TEST(RestartPolicy, NoneWithZero) {
  RestartConfig config;
  config.max_restarts = 0;
  const auto decision = Policy(config).fails(137);
  EXPECT_FALSE(decision.restart);
  EXPECT_EQ(decision.code, 137);
  EXPECT_THAT(decision.text, HasSubstr("--max-restarts 0"));
}

TEST(RestartPolicy, BackoffDoublesToItsLimit) {
  Policy run(many_restarts());
  for (const double expected : {0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0}) {
    EXPECT_DOUBLE_EQ(run.fails(137).after_s, expected);
  }
  for (int i = 0; i < 200; ++i) EXPECT_DOUBLE_EQ(run.fails(137).after_s, 60);  // no overflow
}

TEST(RestartPolicy, BackoffBeginsAnewAfterANewStep) {
  Policy run(many_restarts());
  EXPECT_DOUBLE_EQ(run.fails(137).after_s, 0.5);
  EXPECT_DOUBLE_EQ(run.fails(137).after_s, 1);
  run.now_s += 3000;
  EXPECT_DOUBLE_EQ(run.fails(137).after_s, 2) << "time alone is no step";
  run.new_step();
  EXPECT_DOUBLE_EQ(run.fails(137).after_s, 0) << "it got on";
  EXPECT_DOUBLE_EQ(run.fails(137).after_s, 0.5);
  EXPECT_DOUBLE_EQ(run.fails(137).after_s, 1) << "the step was that of an attempt before";
}

TEST(RestartPolicy, StorageOnceInTheWindow) {
  Policy run(many_restarts());
  EXPECT_TRUE(run.fails(7).restart);
  EXPECT_TRUE(run.fails(137).restart);
  const auto decision = run.fails(7);
  EXPECT_FALSE(decision.restart);
  EXPECT_EQ(decision.code, 7);
  EXPECT_THAT(decision.text, HasSubstr("free space"));
  run.now_s += 3600;
  EXPECT_TRUE(run.fails(7).restart);
}

TEST(RestartPolicy, ThreeFailuresWithoutANewStepNameTheBatch) {
  RestartConfig config;
  config.max_restarts = 100;
  Policy run(config, 128, [](std::int64_t first, std::int64_t count) {
    return "ids " + std::to_string(first) + "+" + std::to_string(count);
  });
  run.policy.step_done(17);
  EXPECT_TRUE(run.fails(139).restart);
  for (int step = 10; step <= 17; ++step) run.policy.step_done(step);  // done again: no progress
  EXPECT_TRUE(run.fails(139).restart);
  run.policy.step_done(17);
  const auto decision = run.fails(139);
  EXPECT_FALSE(decision.restart);
  EXPECT_EQ(decision.code, 139);
  EXPECT_THAT(decision.text, HasSubstr("step 18"));
  EXPECT_THAT(decision.text, HasSubstr("[2176, 2304)"));  // 17 * 128
  EXPECT_THAT(decision.text, HasSubstr("ids 2176+128"));
}

TEST(RestartPolicy, ANewStepBetweenIsProgress) {
  RestartConfig config;
  config.max_restarts = 100;
  Policy run(config, 128);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(run.fails(139).restart);
    EXPECT_TRUE(run.fails(139).restart);
    run.new_step();
  }
}

TEST(RestartPolicy, BeforeAnyReportNoBatchIsNamed) {
  RestartConfig config;
  config.max_restarts = 100;
  Policy run(config, 128);
  run.policy.step_done(0);  // where it stands: not a step
  EXPECT_TRUE(run.fails(139).restart);
  run.policy.step_done(0);
  EXPECT_TRUE(run.fails(139).restart);
  EXPECT_THAT(run.fails(139).text, HasSubstr("[0, 128)"));
  Policy unknown(config, 128);
  unknown.fails(139), unknown.fails(139);
  const auto decision = unknown.fails(139);
  EXPECT_FALSE(decision.restart);
  EXPECT_THAT(decision.text, testing::Not(HasSubstr("positions")));
}

TEST(RestartPolicy, AHostThatBrokeItTwiceIsLeftOutIfTheOthersSuffice) {
  Policy run(many_restarts());
  bool enough = false;
  run.can_run_without = [&](const std::set<std::string>&) { return enough; };
  EXPECT_THAT(run.fails(137, true, "node2").excluded, IsEmpty());
  EXPECT_THAT(run.fails(137, true, "node1").excluded, IsEmpty());
  auto decision = run.fails(137, true, "node2");
  EXPECT_TRUE(decision.restart);
  EXPECT_THAT(decision.excluded, IsEmpty());
  EXPECT_THAT(decision.text, HasSubstr("no spare slots"));
  enough = true;
  decision = run.fails(137);
  EXPECT_THAT(decision.excluded, ElementsAre("node2"));
  EXPECT_THAT(decision.text, HasSubstr("without node2"));
  EXPECT_THAT(run.fails(137, true, "node1").excluded, ElementsAre("node1", "node2"));
  run.now_s += 3600;
  EXPECT_THAT(run.fails(137).excluded, IsEmpty()) << "its faults are older than the window";
  run.can_run_without = nullptr;
  run.fails(137, true, "node3");
  EXPECT_THAT(run.fails(137, true, "node3").excluded, IsEmpty());
}

TEST(RestartPolicy, ALostNodeThatIsNotRestartedEndsWith5) {
  RestartConfig config;
  config.max_restarts = 0;
  EXPECT_EQ(Policy(config).fails(205, true).code, 5);
  EXPECT_EQ(Policy(config).fails(255, true).code, 5);
  EXPECT_EQ(Policy(config).fails(255, false).code, 255);
}

TEST(RestartPolicy, NumbersOutOfRangeAreRefused) {
  const auto with = [](auto&& change) {
    RestartConfig config;
    change(config);
    return std::make_unique<Policy>(config);
  };
  EXPECT_THROW(with([](auto& c) { c.max_restarts = -1; }), ConfigError);
  EXPECT_THROW(with([](auto& c) { c.window_s = 0; }), ConfigError);
  EXPECT_THROW(with([](auto& c) { c.first_backoff_s = -1; }), ConfigError);
  EXPECT_THROW(with([](auto& c) { c.max_backoff_s = 0.1; }), ConfigError);
  EXPECT_THROW(with([](auto& c) { c.same_step_failures = 0; }), ConfigError);
  EXPECT_THROW(with([](auto& c) { c.window_s = 0.0 / 0.0; }), ConfigError);
}

}  // namespace
}  // namespace triptych

// Goodput of journals that were reckoned by hand.
#include "distributed/launcher/goodput.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using Timed = std::vector<std::pair<double, JournalEvent>>;

std::vector<JournalLine> timed_lines(const Timed& events) {
  std::vector<JournalLine> lines;
  for (const auto& [uptime_s, event] : events) lines.push_back({"2026-11-22T00:00:00.000Z", uptime_s, event});
  return lines;
}

GoodputReport goodput_of_timed(const Timed& events) {
  const auto report = goodput_of(timed_lines(events));
  EXPECT_NEAR(report.productive_s + report.redone_s + report.detecting_s + report.waiting_s + report.starting_s +
                  report.saving_s,
              report.wall_s, 1e-9)
      << "the parts are the whole";
  return report;
}

StartEvent start_from(std::int64_t step) {
  StartEvent event;
  event.ranks = 2;
  event.from_step = step;
  return event;
}

StepEvent step_told(std::int64_t step, double step_s) {
  return {0, step, 1000, step_s};
}

FaultEvent fault_of(const std::string& kind, std::int64_t step, double detection_s) {
  return {kind, 0, "node1", "step", step, detection_s, ""};
}

// Launch 0..2 s, training from 5 s (first step of 1 s told at 6 s), checkpoint of step 20 with 1 s of stall, killed at
// 46 s with 40 steps done, known at 47 s, again at 49 s, trains from 52 s, ends at 73 s.
Timed one_fault() {
  return {{0.0, LaunchEvent{}},
          {2.0, start_from(0)},
          {6.0, step_told(1, 1)},
          {26.0, CheckpointEvent{20, 3, 1}},
          {47.0, fault_of("killed", 40, 1)},
          {47.5, RestartEvent{1, 20, 0.5, {}, {}}},
          {49.0, start_from(20)},
          {53.0, step_told(21, 1)},
          {73.0, EndEvent{0, "done"}}};
}

TEST(Goodput, OneFaultByHand) {
  const auto report = goodput_of_timed(one_fault());
  EXPECT_DOUBLE_EQ(report.wall_s, 73);
  EXPECT_DOUBLE_EQ(report.starting_s, 5 + 3);
  EXPECT_DOUBLE_EQ(report.saving_s, 1);
  EXPECT_DOUBLE_EQ(report.detecting_s, 1);
  EXPECT_DOUBLE_EQ(report.waiting_s, 2);
  EXPECT_DOUBLE_EQ(report.redone_s, 20);  // half of the 40 s for 40 steps
  EXPECT_DOUBLE_EQ(report.productive_s, 20 + 21);
  EXPECT_DOUBLE_EQ(report.goodput(), 41.0 / 73);
  EXPECT_EQ(report.attempts, 2);
  EXPECT_EQ(report.launchers, 1);
  EXPECT_EQ(report.checkpoints, 1);
  EXPECT_EQ(report.last_step, 21);
  EXPECT_EQ(report.faults, (std::map<std::string, std::int64_t>{{"killed", 1}}));
  EXPECT_DOUBLE_EQ(report.mean_detection_s.value(), 1);
  EXPECT_DOUBLE_EQ(report.mean_recovery_s.value(), 53 - 46);
  EXPECT_EQ(report.end_code, 0);
}

TEST(Goodput, FirstReportOfSeveralStepsReachesBack) {
  // Ten steps of 0.2 s are told at once at 4 s: training began at 2 s.
  const auto report =
      goodput_of_timed({{0, LaunchEvent{}}, {1, start_from(0)}, {4, step_told(10, 0.2)}, {10, EndEvent{}}});
  EXPECT_DOUBLE_EQ(report.starting_s, 2);
  EXPECT_DOUBLE_EQ(report.productive_s, 8);
}

TEST(Goodput, AFaultBeforeTheFirstStepIsStarting) {
  const auto report = goodput_of_timed({{0, LaunchEvent{}},
                                        {1, start_from(0)},
                                        {9, fault_of("join", kUnknownStep, 5)},
                                        {10, start_from(0)},
                                        {13, step_told(1, 1)},
                                        {20, EndEvent{}}});
  EXPECT_DOUBLE_EQ(report.starting_s, 1 + 3 + 2);  // until 4 s, then 10 to 12 s
  EXPECT_DOUBLE_EQ(report.detecting_s, 5);
  EXPECT_DOUBLE_EQ(report.waiting_s, 1);
  EXPECT_DOUBLE_EQ(report.redone_s, 0);
  EXPECT_DOUBLE_EQ(report.productive_s, 8);
  EXPECT_DOUBLE_EQ(report.mean_recovery_s.value(), 13 - 4);
}

TEST(Goodput, WithoutARestartNothingIsRedone) {
  const auto report = goodput_of_timed({{0, LaunchEvent{}},
                                        {1, start_from(0)},
                                        {3, step_told(1, 1)},
                                        {12, fault_of("hang", 5, 4)},
                                        {13, EndEvent{5, ""}}});
  EXPECT_DOUBLE_EQ(report.redone_s, 0);
  EXPECT_DOUBLE_EQ(report.productive_s, 6);  // 2 to 8 s
  EXPECT_DOUBLE_EQ(report.detecting_s, 4);
  EXPECT_DOUBLE_EQ(report.waiting_s, 1);
  EXPECT_FALSE(report.mean_recovery_s);
}

TEST(Goodput, AnOlderCheckpointUndoesSeveralAttempts) {
  // The second attempt saves nothing that can be read: the third goes on from 5, before all of the second.
  const auto report = goodput_of_timed({{0, LaunchEvent{}},
                                        {0, start_from(0)},
                                        {1, step_told(1, 1)},
                                        {10, fault_of("killed", 10, 0)},
                                        {10, start_from(10)},
                                        {11, step_told(11, 1)},
                                        {15, fault_of("killed", 15, 0)},
                                        {15, start_from(5)},
                                        {16, step_told(6, 1)},
                                        {25, EndEvent{}}});
  EXPECT_DOUBLE_EQ(report.redone_s, 5 + 5);
  EXPECT_DOUBLE_EQ(report.productive_s, 5 + 10);
}

TEST(Goodput, ALauncherThatWasKilledAndClocksThatWereSet) {
  Timed events = one_fault();
  events.pop_back();  // killed at 53 s: no end
  const Timed next = {{0.0, LaunchEvent{}}, {1.0, start_from(20)}, {3.0, step_told(21, 1)}, {23.0, EndEvent{0, ""}}};
  auto lines = timed_lines(events);
  for (auto& line : timed_lines(next)) lines.push_back(line);
  const auto report = goodput_of(lines);
  for (std::size_t i = 0; i < lines.size(); ++i) {  // one clock a year behind, jumping about
    lines[i].time = i % 2 ? "2025-01-01T00:00:00.000Z" : "2038-01-19T03:14:08.000Z";
  }
  EXPECT_EQ(goodput_json(goodput_of(lines)), goodput_json(report));
  EXPECT_EQ(report.launchers, 2);
  EXPECT_DOUBLE_EQ(report.wall_s, 53 + 23);
  EXPECT_DOUBLE_EQ(report.redone_s, 20 + 1);  // the second attempt's only step too
  EXPECT_DOUBLE_EQ(report.productive_s, 20 + 21);
  EXPECT_EQ(report.end_code, 0);
  EXPECT_DOUBLE_EQ(report.mean_recovery_s.value(), 7);
}

TEST(Goodput, AnUptimeThatFallsIsAnotherLauncher) {
  const auto report =
      goodput_of_timed({{0, LaunchEvent{}}, {10, WarningEvent{}}, {2, WarningEvent{}}, {4, EndEvent{}}});
  EXPECT_EQ(report.launchers, 2);
  EXPECT_DOUBLE_EQ(report.wall_s, 14);
}

TEST(Goodput, WithoutAFromStepTheFirstStepSays) {
  Timed events = one_fault();
  for (auto& [uptime_s, event] : events) {
    if (auto* start = std::get_if<StartEvent>(&event)) start->from_step = kUnknownStep;
  }
  EXPECT_DOUBLE_EQ(goodput_of_timed(events).productive_s, 41) << "the restart line says it";
  std::erase_if(events, [](const auto& line) { return std::holds_alternative<RestartEvent>(line.second); });
  EXPECT_DOUBLE_EQ(goodput_of_timed(events).productive_s, 41) << "the step after it says it";
}

TEST(Goodput, SecondFaultOfAnAttemptIsCountedNotTimed) {
  auto events = one_fault();
  events.insert(events.begin() + 5, {47.2, fault_of("node lost", 40, 3)});
  const auto report = goodput_of_timed(events);
  EXPECT_DOUBLE_EQ(report.detecting_s, 1);
  EXPECT_DOUBLE_EQ(report.productive_s, 41);
  EXPECT_EQ(report.faults.size(), 2u);
  EXPECT_DOUBLE_EQ(report.mean_detection_s.value(), 2);
}

TEST(Goodput, EmptyJournalAndNoJournal) {
  const TempDir folder;
  EXPECT_FALSE(read_goodput(folder.path()));
  std::ofstream(folder / "launch.jsonl") << "";
  const auto report = read_goodput(folder.path());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->wall_s, 0);
  EXPECT_EQ(report->goodput(), 0);
  EXPECT_EQ(report->launchers, 0);
}

TEST(Goodput, ReadsTheRunsFolder) {
  const TempDir folder;
  double uptime_s = 0;
  Journal journal(folder / "launch.jsonl",
                  {[] { return std::chrono::system_clock::time_point(); }, [&] { return uptime_s; }});
  for (const auto& [at, event] : one_fault()) {
    uptime_s = at;
    journal.write(event);
  }
  std::ofstream(folder / "launch.jsonl", std::ios::app) << "no json\n";
  std::ofstream(folder / "metrics.jsonl") << R"({"step":10,"step_s":0.5,"data_wait_s":0.125})"
                                          << "\n"
                                          << R"({"step":10,"eval/x/y":1})"
                                          << "\n"
                                          << R"({"step":14,"step_s":1,"data_wait_s":0.25})"
                                          << "\n"
                                          << R"({"step":20,"step_)";
  const auto report = read_goodput(folder.path());
  ASSERT_TRUE(report);
  EXPECT_DOUBLE_EQ(report->productive_s, 41);
  EXPECT_EQ(report->bad_lines, 1);
  EXPECT_DOUBLE_EQ(report->measured_step_s.value(), 5 + 4);
  EXPECT_DOUBLE_EQ(report->measured_data_wait_s.value(), 1.25 + 1);

  const auto json = goodput_json(*report);
  EXPECT_DOUBLE_EQ(json["goodput"], 41.0 / 73);
  EXPECT_EQ(json["faults"]["killed"], 1);
  const auto table = goodput_table(*report);
  EXPECT_THAT(table, testing::ContainsRegex("productive +41.0 s +56.2 %"));
  EXPECT_THAT(table, testing::ContainsRegex("wall +1 min 13 s +100.0 %"));
  EXPECT_THAT(table, testing::HasSubstr("faults: killed"));
}

TEST(Goodput, UnknownFiguresAreNull) {
  const auto json = goodput_json(goodput_of({}));
  for (const char* key : {"mean_detection_s", "mean_recovery_s", "measured_step_s", "end_code"}) {
    EXPECT_TRUE(json.at(key).is_null()) << key;
  }
}

}  // namespace
}  // namespace triptych

// The watch's rules on an invented clock: each just below and just above its threshold, and a watch without the rule.
#include "distributed/launcher/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace triptych {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using Kind = Finding::Kind;

constexpr double kOff = std::numeric_limits<double>::infinity();

/// Four ranks on two hosts. Time goes on in tenths of a second; ranks that are not silent report each second.
class Job {
 public:
  explicit Job(WatchRules rules = {}, std::vector<std::string> hosts = {"node1", "node1", "node2", "node2"})
      : hosts_(std::move(hosts)),
        watch_(with_ranks(std::move(rules), hosts_.size()), [this](int rank) { asked.push_back(rank); }) {
    views.resize(hosts_.size());
    silent.assign(hosts_.size(), false);
    for (int rank = 0; rank < size(); ++rank) {
      views[rank].phase = Phase::kStep;
      watch_.join({rank, size(), hosts_[rank], 100 + rank, "p", "c"}, now());
    }
  }
  int size() const { return static_cast<int>(hosts_.size()); }
  Clock::time_point now() const {
    return Clock::time_point(std::chrono::seconds(1000) + std::chrono::milliseconds(ms_));
  }
  double seconds() const { return static_cast<double>(ms_) / 1000; }

  /// Lets `s` seconds go by. Reports come each second, and then `each_tenth` is called.
  void pass(double s, const std::function<void()>& each_tenth = {}) {
    for (const auto until = ms_ + static_cast<std::int64_t>(s * 1000 + 0.5); ms_ < until;) {
      ms_ += 100;
      if (each_tenth) each_tenth();
      if (ms_ % 1000 == 0) report_all();
      collect();
    }
  }
  void report(int rank) { watch_.report(rank, views[rank], now()); }
  void report_all() {
    for (int rank = 0; rank < size(); ++rank) {
      if (!silent[rank]) report(rank);
    }
  }
  /// A step of all ranks that are not silent, each with its own `busy` seconds, in `step_s`; then a report.
  void step(double step_s, const std::vector<double>& busy) {
    pass(step_s);
    for (int rank = 0; rank < size(); ++rank) {
      auto& view = views[rank];
      if (silent[rank]) continue;
      ++view.step;
      ++view.steps_here;
      view.step_s = step_s;
      view.step_total_s += step_s;
      view.busy_total_s += busy[rank];
      report(rank);
    }
    collect();
  }
  void steps(int n, double step_s) {
    for (int i = 0; i < n; ++i) step(step_s, std::vector<double>(size(), step_s / 2));
  }
  void gone(int rank, LinkEnd::Kind how, int code = 0) { gone(rank, LinkEnd{.kind = how, .code = code}); }
  void gone(int rank, const LinkEnd& how) {
    silent[rank] = true;
    watch_.gone(rank, how, now());
    collect();
  }
  void join(int rank) {
    silent[rank] = false;
    watch_.join({rank, size(), hosts_[rank], 100 + rank, "p", "c"}, now());
  }
  void all(const std::function<void(ProgressBoard::View&)>& change) {
    for (auto& view : views) change(view);
  }
  Watch& watch() { return watch_; }
  /// The process itself is stopped.
  void sleep(double s) { ms_ += static_cast<std::int64_t>(s * 1000); }

  std::vector<ProgressBoard::View> views;
  std::vector<bool> silent;
  std::vector<Finding> found;
  std::vector<double> found_at;
  std::vector<int> asked;

 private:
  static WatchRules with_ranks(WatchRules rules, std::size_t ranks) {
    rules.ranks = static_cast<int>(ranks);
    return rules;
  }
  void collect() {
    for (auto& finding : watch_.tick(now())) {
      found.push_back(std::move(finding));
      found_at.push_back(seconds());
    }
  }
  const std::vector<std::string> hosts_;
  Watch watch_;
  std::int64_t ms_ = 0;
};

/// All ranks inside a collective but `outside`, which did one less.
void enter_all_but(Job& job, int outside) {
  for (int rank = 0; rank < job.size(); ++rank) {
    auto& view = job.views[rank];
    view.collective = rank == outside ? 811 : 812;
    view.operation = rank == outside ? "BROADCAST" : "ALLREDUCE";
    view.in_collective = rank != outside;
  }
  job.report_all();
}

// --- gone

TEST(Watch, NamesADeadRankAtOnce) {
  Job job;
  job.steps(3, 1);
  enter_all_but(job, 1);
  job.gone(1, LinkEnd::Kind::kClosed);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_EQ(job.found_at[0], job.seconds());
  EXPECT_EQ(job.found[0].kind, Kind::kRankGone);
  EXPECT_THAT(job.found[0].ranks, ElementsAre(1));
  EXPECT_EQ(job.found[0].host, "node1");
  EXPECT_TRUE(job.found[0].fatal);
  EXPECT_EQ(job.found[0].text,
            "rank 1 on node1 is gone: its connection closed without a goodbye (process 101; step 3, phase step, last "
            "collective 811 (BROADCAST))");
}

TEST(Watch, TheFirstDeadRankTakesTheOthersWithIt) {
  Job job;
  job.gone(3, LinkEnd::Kind::kClosed);
  job.pass(1.5);
  for (const int rank : {0, 1, 2}) job.gone(rank, LinkEnd::Kind::kClosed);
  job.pass(700);
  ASSERT_EQ(job.found.size(), 1u) << job.found[1].text;
  EXPECT_THAT(job.found[0].ranks, ElementsAre(3));
}

TEST(Watch, AGoodbyeIsNoDeath) {
  for (const int code : {0, 75}) {
    Job job;
    for (int rank = 0; rank < 4; ++rank) job.gone(rank, LinkEnd::Kind::kGoodbye, code);
    job.pass(700);
    EXPECT_THAT(job.found, IsEmpty());
  }
}

TEST(Watch, AGoodbyeWithAnErrorIsTheCause) {
  Job job;
  job.gone(2, LinkEnd::Kind::kGoodbye, 6);
  job.gone(0, LinkEnd::Kind::kClosed);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_EQ(job.found[0].kind, Kind::kRankFailed);
  EXPECT_EQ(job.found[0].code, 6);
  EXPECT_TRUE(job.found[0].fatal);
  EXPECT_THAT(job.found[0].text, StartsWith("rank 2 on node2 ended with code 6"));
}

TEST(Watch, WhereAllEndForOneReasonTheFirstToSaySoIsNotToBlame) {
  Job job;
  job.gone(2, {.kind = LinkEnd::Kind::kGoodbye, .code = 5, .agreed = true});
  job.gone(0, {.kind = LinkEnd::Kind::kGoodbye, .code = 5, .agreed = true});
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_EQ(job.found[0].kind, Kind::kRankFailed);
  EXPECT_EQ(job.found[0].code, 5);
  EXPECT_TRUE(job.found[0].fatal);
  EXPECT_THAT(job.found[0].ranks, IsEmpty());
  EXPECT_EQ(job.found[0].host, "");
  EXPECT_THAT(job.found[0].text, StartsWith("all ranks end with code 5 for one reason"));
}

TEST(Watch, ACulpritIsBlamedWhoeverEndsFirst) {
  Job job;
  job.gone(0, {.kind = LinkEnd::Kind::kGoodbye, .code = 5, .agreed = true, .culprit = 3});
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_THAT(job.found[0].ranks, ElementsAre(3));
  EXPECT_EQ(job.found[0].host, "node2");
  EXPECT_THAT(job.found[0].text, StartsWith("all ranks end with code 5 because of rank 3 on node2"));
  Job odd;  // a number that no rank has
  odd.gone(0, {.kind = LinkEnd::Kind::kGoodbye, .code = 5, .agreed = true, .culprit = 4});
  EXPECT_THAT(odd.found[0].ranks, IsEmpty());
}

TEST(Watch, AHostIsGoneWhenItsRanksGoTogether) {
  struct Case {
    double apart_s;
    WatchRules rules;
    bool host;
  };
  for (const auto& [apart_s, rules, host] :
       {Case{0, {}, true}, Case{1, {}, true}, Case{1.1, {}, false}, Case{0.1, {.together_s = 0}, false},
        Case{0, {.own_host = "node2"}, false}, Case{0, {.own_host = "node1"}, true}}) {
    Job job(rules);
    job.gone(2, LinkEnd::Kind::kClosed);
    job.pass(apart_s);
    job.gone(3, LinkEnd::Kind::kClosed);
    ASSERT_EQ(job.found.size(), host ? 2u : 1u) << apart_s;
    EXPECT_EQ(job.found[0].kind, Kind::kRankGone);
    if (!host) continue;
    EXPECT_EQ(job.found[1].kind, Kind::kHostGone);
    EXPECT_EQ(job.found[1].text, "host node2 is gone (ranks 2, 3)");
    EXPECT_EQ(job.found[1].host, "node2");
    EXPECT_THAT(job.found[1].ranks, ElementsAre(2, 3));
  }
}

TEST(Watch, AHostIsNotGoneWhenARankElsewhereWentFirst) {
  Job job;
  job.gone(0, LinkEnd::Kind::kClosed);
  job.gone(2, LinkEnd::Kind::kClosed);
  job.gone(3, LinkEnd::Kind::kClosed);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_THAT(job.found[0].ranks, ElementsAre(0));
}

TEST(Watch, OneRankOfAHostDoesNotTellOfItsHost) {
  Job job({}, {"node1", "node2"});
  job.gone(1, LinkEnd::Kind::kClosed);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_EQ(job.found[0].kind, Kind::kRankGone);
}

TEST(Watch, ALinkIsCutWhenAllRanksOfAHostTimeOut) {
  Job job;
  job.gone(2, LinkEnd::Kind::kTimedOut);
  EXPECT_THAT(job.found, IsEmpty()) << "one may be alone";
  job.pass(0.9);
  job.gone(3, LinkEnd::Kind::kTimedOut);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_EQ(job.found[0].kind, Kind::kLinkCut);
  EXPECT_EQ(job.found[0].text, "link to node2 is cut or the machine is down (ranks 2, 3)");
  EXPECT_TRUE(job.found[0].fatal);
}

TEST(Watch, ARankThatTimesOutAloneIsGoneASecondLater) {
  Job job;
  job.gone(2, LinkEnd::Kind::kTimedOut);
  job.pass(0.9);
  EXPECT_THAT(job.found, IsEmpty());
  job.pass(0.2);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_EQ(job.found[0].kind, Kind::kRankGone);
  EXPECT_THAT(job.found[0].text, HasSubstr("rank 2 on node2 is gone: its machine does not answer"));
}

TEST(Watch, ABadLineCostsAConnectionNotTheRank) {
  Job job;
  job.steps(3, 1);
  job.gone(2, LinkEnd::Kind::kBadLine);
  job.steps(9, 1);
  job.join(2);
  job.steps(20, 1);
  EXPECT_THAT(job.found, IsEmpty());
  job.gone(2, LinkEnd::Kind::kBadLine);
  job.steps(9, 1);
  EXPECT_THAT(job.found, IsEmpty());
  job.steps(2, 1);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_THAT(job.found[0].text, HasSubstr("did not come back"));
}

// --- hangs

TEST(Watch, AHangIsTenSecondsOrTenMedianSteps) {
  struct Case {
    double step_s, limit_s;
  };
  for (const auto& [step_s, limit_s] : {Case{0.1, 10}, Case{1, 10}, Case{2, 20}, Case{7, 70}}) {
    Job job;
    job.steps(20, step_s);
    job.steps(1, 5 * step_s);  // one slow step moves no median
    EXPECT_NEAR(job.watch().hang_limit_s(), limit_s, 1e-9);
    const double start = job.seconds();
    enter_all_but(job, 2);
    job.pass(limit_s - 0.2);
    EXPECT_THAT(job.found, IsEmpty()) << step_s;
    EXPECT_THAT(job.asked, IsEmpty());
    job.pass(0.3);
    EXPECT_THAT(job.asked, ElementsAre(2));
    EXPECT_THAT(job.found, IsEmpty()) << "the stack is asked for first";
    job.watch().stack(2, "thread main (R)\n  #0 spin()\n");
    job.pass(0.1);
    ASSERT_EQ(job.found.size(), 1u);
    EXPECT_EQ(job.found[0].kind, Kind::kHang);
    EXPECT_TRUE(job.found[0].fatal);
    EXPECT_THAT(job.found[0].ranks, ElementsAre(2));
    EXPECT_EQ(job.found[0].host, "node2");
    EXPECT_THAT(job.found[0].text,
                AllOf(HasSubstr("3 ranks wait in collective 812 (ALLREDUCE) for rank 2 on node2 (step 21, phase step, "
                                "last collective 811 (BROADCAST))"),
                      HasSubstr("stack of rank 2 on node2:\nthread main (R)\n  #0 spin()")));
    EXPECT_LT(job.found_at[0] - start, limit_s + 5);
    job.pass(100);
    EXPECT_EQ(job.found.size(), 1u) << "once";
  }
}

TEST(Watch, AStackThatDoesNotComeDelaysTheFindingTwoSeconds) {
  Job job;
  job.steps(20, 1);
  enter_all_but(job, 0);
  job.pass(11.5);
  EXPECT_THAT(job.found, IsEmpty());
  job.pass(1);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_THAT(job.found[0].text, HasSubstr("rank 0 on node1 did not send its stack"));
}

TEST(Watch, WhatMovesWhileStacksAreAskedForIsNoHang) {
  Job job;
  job.steps(20, 1);
  enter_all_but(job, 0);
  job.pass(10.5);
  ASSERT_THAT(job.asked, ElementsAre(0));
  job.steps(20, 1);
  EXPECT_THAT(job.found, IsEmpty());
}

/// Each kind of movement on a single rank keeps the job alive.
TEST(Watch, AnyMovementOfAnyRankIsProgress) {
  const std::vector<std::function<void(ProgressBoard::View&)>> movements = {
      [](auto& view) { ++view.beats; }, [](auto& view) { ++view.collective; },
      [](auto& view) { view.phase = view.phase == Phase::kData ? Phase::kStep : Phase::kData; },
      [](auto& view) { ++view.step; }};
  for (const auto& move : movements) {
    Job job;
    job.steps(20, 1);
    for (int i = 0; i < 5; ++i) {
      job.pass(9);
      move(job.views[3]);
    }
    EXPECT_THAT(job.found, IsEmpty());
    job.pass(20);
    EXPECT_EQ(job.found.size(), 1u) << "control: without it, it hangs";
  }
}

TEST(Watch, StartEvaluationAndSaveHaveALimitOfTheirOwn) {
  for (const auto phase : {Phase::kStart, Phase::kEvaluate, Phase::kSave}) {
    Job job;
    job.steps(20, 1);
    enter_all_but(job, 0);
    job.views[0].phase = phase;  // the others wait for it in their step
    job.report_all();
    job.pass(599);
    EXPECT_THAT(job.found, IsEmpty()) << phase_name(phase);
    job.pass(5);
    ASSERT_EQ(job.found.size(), 1u) << phase_name(phase);
    EXPECT_THAT(job.found[0].ranks, ElementsAre(0));
  }
  Job data;  // control: a phase without it
  data.steps(20, 1);
  data.views[0].phase = Phase::kData;
  data.report_all();
  data.pass(20);
  EXPECT_EQ(data.found.size(), 1u);
}

/// While one rank opens or saves, the others meet it in a collective each second: a dead file system must not hide
/// there.
TEST(Watch, MeetingInCollectivesIsNoProgressOfAStartOrASave) {
  const auto moved_for = [](Phase phase, double seconds, const std::function<void(ProgressBoard::View&)>& move) {
    Job job;
    job.steps(20, 1);
    job.all([&](auto& view) { view.phase = phase; });
    job.report_all();
    job.pass(seconds, [&] { job.all(move); });
    return job.found.size();
  };
  const auto meet = [](auto& view) {
    ++view.collective;
    view.in_collective = !view.in_collective;
  };
  for (const auto phase : {Phase::kStart, Phase::kSave}) {
    EXPECT_EQ(moved_for(phase, 599, meet), 0u) << phase_name(phase);
    EXPECT_EQ(moved_for(phase, 605, meet), 1u) << phase_name(phase);
    EXPECT_EQ(moved_for(phase, 605, [](auto& view) { ++view.beats; }), 0u) << "control: a file that is written";
  }
  EXPECT_EQ(moved_for(Phase::kStep, 605, meet), 0u) << "control: steps do move by them";
  EXPECT_EQ(moved_for(Phase::kEvaluate, 605, meet), 0u);
}

TEST(Watch, TheFirstStepHasTimeToCome) {
  Job job;
  job.pass(599);
  EXPECT_THAT(job.found, IsEmpty());
  job.pass(5);
  EXPECT_EQ(job.found.size(), 1u);
}

TEST(Watch, NamesRanksThatNeverJoined) {
  WatchRules rules;
  rules.ranks = 3;
  Watch watch(rules, {});
  const auto at = [](double s) { return Clock::time_point(std::chrono::milliseconds(static_cast<int>(s * 1000))); };
  watch.join({1, 3, "node1", 5, "", ""}, at(1));
  std::vector<Finding> found;
  ProgressBoard::View view;
  for (double s = 2; s < 610 && found.empty(); ++s) {
    watch.report(1, view, at(s));
    found = watch.tick(at(s));
  }
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0].ranks, ElementsAre(0, 2));
  EXPECT_THAT(found[0].text, HasSubstr("ranks 0, 2 never joined"));
}

TEST(Watch, WhenAllWaitInOneCollectiveAllAreNamed) {
  Job job;
  job.steps(20, 1);
  enter_all_but(job, -1);
  job.pass(20);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_THAT(job.found[0].ranks, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(job.found[0].host, "");
  EXPECT_THAT(job.found[0].text, HasSubstr("all 4 running ranks are in collective 812 (ALLREDUCE)"));
}

TEST(Watch, WhenNobodyWaitsInACollectiveAllAreNamed) {
  Job job;
  job.steps(20, 1);
  job.pass(20);
  ASSERT_EQ(job.found.size(), 1u);
  EXPECT_THAT(job.found[0].ranks, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(job.found[0].text, HasSubstr("no rank waits in a collective: rank 0 on node1 (step 20"));
}

TEST(Watch, AStoppedRankIsTheOneThatHangs) {
  for (const auto phase : {Phase::kStep, Phase::kEvaluate}) {  // no phase excuses silence
    Job job;
    job.steps(20, 1);
    enter_all_but(job, -1);
    job.all([&](auto& view) { view.phase = phase; });
    job.report_all();
    job.silent[2] = true;
    const double start = job.seconds();
    job.pass(16);
    ASSERT_EQ(job.found.size(), 2u) << phase_name(phase);
    EXPECT_EQ(job.found[0].kind, Kind::kPause);
    EXPECT_EQ(job.found[1].kind, Kind::kHang);
    EXPECT_THAT(job.found[1].ranks, ElementsAre(2));
    EXPECT_THAT(job.found[1].text, HasSubstr("rank 2 on node2 is stopped, silent for 10"));
    EXPECT_THAT(job.asked, IsEmpty()) << "it could not answer";
    EXPECT_LT(job.found_at[1] - start, 15);
  }
}

TEST(Watch, WithoutTheRuleAHangIsMissed) {
  Job job({.hang_s = kOff, .quiet_s = kOff});
  job.steps(20, 1);
  enter_all_but(job, 2);
  job.silent[3] = true;
  job.pass(2000);
  EXPECT_THAT(job.found, IsEmpty());
}

TEST(Watch, AJobThatEndedDoesNotHang) {
  Job job;
  job.steps(20, 1);
  for (int rank = 0; rank < 4; ++rank) job.gone(rank, LinkEnd::Kind::kGoodbye);
  job.pass(700);
  EXPECT_THAT(job.found, IsEmpty());
}

// --- pauses

TEST(Watch, APauseOfHalfTheLimitWarnsOnce) {
  struct Case {
    double pause_s;
    std::size_t warnings;
  };
  for (const auto& [pause_s, warnings] : {Case{3.9, 0}, Case{5, 1}, Case{8, 1}}) {
    Job job;
    job.steps(20, 1);
    job.silent[1] = true;
    job.pass(pause_s);
    job.silent[1] = false;
    job.steps(20, 1);
    ASSERT_EQ(job.found.size(), warnings) << pause_s;
    if (warnings == 0) continue;
    EXPECT_EQ(job.found[0].kind, Kind::kPause);
    EXPECT_FALSE(job.found[0].fatal);
    EXPECT_THAT(job.found[0].ranks, ElementsAre(1));
    EXPECT_THAT(job.found[0].text, AllOf(HasSubstr("rank 1 on node1 does not report for"), Not(HasSubstr("hangs"))));
  }
}

TEST(Watch, EachPauseWarns) {
  Job job;
  job.steps(20, 1);
  for (int i = 0; i < 2; ++i) {
    job.silent[1] = true;
    job.pass(6);
    job.silent[1] = false;
    job.steps(5, 1);
  }
  EXPECT_EQ(job.found.size(), 2u);
}

/// The whole job was frozen, launcher included: when it thaws, nothing has happened.
TEST(Watch, TimeInWhichTheLauncherWasStoppedDoesNotCount) {
  Job job;
  job.steps(20, 1);
  for (int i = 0; i < 3; ++i) {
    job.sleep(3600);
    job.pass(1);
  }
  job.steps(5, 1);
  EXPECT_THAT(job.found, IsEmpty());
  Job counts({.largest_tick_s = kOff});  // control
  counts.steps(20, 1);
  counts.sleep(3600);
  counts.pass(0.1);
  EXPECT_THAT(counts.found, Not(IsEmpty()));
}

TEST(Watch, AStepFiveTimesAsSlowIsNothing) {
  Job job;
  job.steps(20, 2);
  job.steps(1, 10);
  job.step(10, {1, 1, 10, 1});  // and if one rank alone made it slow
  job.steps(20, 2);
  EXPECT_THAT(job.found, IsEmpty());
}

// --- stragglers

TEST(Watch, AStragglerIsNamedWithinTwentyStepsOnceAndWhenItRecovers) {
  for (const int offset : {0, 1, 2, 3, 4}) {  // where in a block it begins
    Job job;
    job.steps(20 + offset, 0.3);
    int steps = 0;
    for (; steps < 20 && job.found.empty(); ++steps) job.step(0.3, {0.1, 0.1, 0.2, 0.1});
    ASSERT_EQ(job.found.size(), 1u) << offset;
    EXPECT_EQ(job.found[0].kind, Kind::kStraggler);
    EXPECT_FALSE(job.found[0].fatal);
    EXPECT_THAT(job.found[0].ranks, ElementsAre(2));
    EXPECT_THAT(job.found[0].text, HasSubstr("rank 2 on node2 slows the job: it is"));
    for (int i = 0; i < 100; ++i) job.step(0.3, {0.1, 0.1, 0.2, 0.1});
    EXPECT_EQ(job.found.size(), 1u) << "once";
    EXPECT_EQ(job.watch().rates().ranks[2].state, RankRate::State::kSlow);
    for (int i = 0; i < 20; ++i) job.step(0.3, {0.1, 0.1, 0.1, 0.1});
    ASSERT_EQ(job.found.size(), 2u) << offset;
    EXPECT_EQ(job.found[1].kind, Kind::kRecovered);
    EXPECT_THAT(job.found[1].text, HasSubstr("rank 2 on node2 keeps pace again"));
  }
}

TEST(Watch, TheFactorDecidesWhoIsAStraggler) {
  struct Case {
    double busy_s, rule;
    bool told;
  };
  for (const auto& [busy_s, rule, told] : {Case{0.149, 1.5, false}, Case{0.151, 1.5, true}, Case{0.29, 3, false},
                                           Case{0.31, 3, true}, Case{9, kOff, false}}) {
    Job job({.straggler = rule});
    for (int i = 0; i < 30; ++i) job.step(1, {0.1, busy_s, 0.1, 0.1});
    ASSERT_EQ(job.found.size(), told ? 1u : 0u) << busy_s << " " << rule;
    if (!told) continue;
    EXPECT_NEAR(job.found[0].factor, busy_s / 0.1, 1e-9);
  }
}

TEST(Watch, AJobThatBecomesSlowHasNoStraggler) {
  Job job;
  for (const double busy : {0.1, 1.0, 0.02, 0.5}) {
    for (int i = 0; i < 23; ++i) job.step(1, std::vector<double>(4, busy));
  }
  EXPECT_THAT(job.found, IsEmpty());
}

TEST(Watch, OneRankHasNobodyToBeComparedWith) {
  Job job({}, {"node1"});
  for (int i = 0; i < 40; ++i) job.step(1, {i < 20 ? 0.1 : 0.9});
  EXPECT_THAT(job.found, IsEmpty());
}

// --- the live view

TEST(Watch, RatesShowWhereTimeGoes) {
  Job job;
  job.all([](auto& view) {
    view.samples_per_s = 640;
    view.loss = 2.5;
    view.total = 100;
  });
  for (int i = 0; i < 10; ++i) {
    job.views[1].data_wait_s += 0.4;
    job.step(2, {1, 1.2, 2, 0.5});
  }
  job.gone(3, LinkEnd::Kind::kGoodbye);
  job.silent[2] = true;
  job.pass(11);
  const auto rates = job.watch().rates();
  EXPECT_EQ(rates.step, 10);
  EXPECT_EQ(rates.total, 100);
  EXPECT_EQ(rates.samples_per_s, 640);
  EXPECT_EQ(rates.loss, 2.5);
  EXPECT_NEAR(rates.median_step_s, 2, 1e-9);
  ASSERT_EQ(rates.ranks.size(), 4u);
  EXPECT_NEAR(rates.ranks[0].shares.busy, 0.5, 1e-9);
  EXPECT_NEAR(rates.ranks[0].shares.collective_wait, 0.5, 1e-9);
  EXPECT_NEAR(rates.ranks[1].shares.busy, 0.4, 1e-9);
  EXPECT_NEAR(rates.ranks[1].shares.data_wait, 0.2, 1e-9);
  EXPECT_NEAR(rates.ranks[1].shares.collective_wait, 0.4, 1e-9);
  EXPECT_EQ(rates.ranks[0].state, RankRate::State::kOk);
  EXPECT_EQ(rates.ranks[2].state, RankRate::State::kSilent);
  EXPECT_EQ(rates.ranks[3].state, RankRate::State::kEnded);
  EXPECT_EQ(rates.ranks[2].host, "node2");
  EXPECT_NEAR(rates.ranks[2].since_report_s, 11, 0.5);
}

}  // namespace
}  // namespace triptych

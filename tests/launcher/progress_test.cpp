// The board: what is written is read, and never half of it.
#include "distributed/launcher/progress.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

namespace triptych {
namespace {

TEST(ProgressBoard, ShowsWhatWasWritten) {
  ProgressBoard board;
  EXPECT_EQ(board.view().phase, Phase::kStart);
  EXPECT_TRUE(std::isnan(board.view().loss));
  board.set_phase(Phase::kStep);
  board.beat();
  board.beat();
  board.data_waited(0.25);
  board.step_done(41, 100, 0.5, 0.3, 64, 2.5);
  board.step_done(42, 100, 0.7, 0.4, 65, 2.4);
  board.enter_collective("ALLREDUCE", 812);
  const auto view = board.view();
  EXPECT_EQ(view.phase, Phase::kStep);
  EXPECT_EQ(view.step, 42);
  EXPECT_EQ(view.total, 100);
  EXPECT_EQ(view.beats, 2);
  EXPECT_EQ(view.collective, 812);
  EXPECT_EQ(view.operation, "ALLREDUCE");
  EXPECT_TRUE(view.in_collective);
  EXPECT_EQ(view.step_s, 0.7);
  EXPECT_EQ(view.busy_s, 0.4);
  EXPECT_EQ(view.samples_per_s, 65);
  EXPECT_EQ(view.loss, 2.4);
  EXPECT_EQ(view.data_wait_s, 0.25);
  EXPECT_EQ(view.steps_here, 2);
  EXPECT_DOUBLE_EQ(view.step_total_s, 1.2);
  EXPECT_DOUBLE_EQ(view.busy_total_s, 0.7);
}

TEST(ProgressBoard, CountsTheTimeInCollectives) {
  ProgressBoard board;
  board.leave_collective();  // without an enter: nothing to add
  EXPECT_EQ(board.waited_s(), 0);
  board.enter_collective("BARRIER", 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  board.leave_collective();
  EXPECT_GE(board.waited_s(), 0.02);
  EXPECT_FALSE(board.view().in_collective);
  EXPECT_EQ(board.view().collective, 1);
  EXPECT_EQ(board.view().waited_s, board.waited_s());
}

TEST(ProgressBoard, NamesPhases) {
  EXPECT_STREQ(phase_name(Phase::kStart), "start");
  EXPECT_STREQ(phase_name(Phase::kData), "data");
  EXPECT_STREQ(phase_name(Phase::kStep), "step");
  EXPECT_STREQ(phase_name(Phase::kEvaluate), "evaluate");
  EXPECT_STREQ(phase_name(Phase::kSave), "save");
  EXPECT_STREQ(phase_name(Phase::kEnd), "end");
}

/// Every field of a step comes from one number: a mix of two steps is seen.
TEST(ProgressBoard, AViewIsOfOneMoment) {
  ProgressBoard board;
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    for (std::int64_t n = 1; !stop; ++n) {
      const auto x = static_cast<double>(n);
      board.step_done(n, 2 * n, x, x, x, x);
    }
  });
  struct End {
    std::atomic<bool>& flag;
    std::thread& writer;
    ~End() {
      flag = true;
      writer.join();
    }
  } end{stop, thread};
  const auto start = std::chrono::steady_clock::now();
  std::int64_t changes = 0, last = 0;
  for (int i = 0; i < 200'000 || changes < 100; ++i) {
    ASSERT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60)) << "writer and reader hardly meet";
    const auto view = board.view();
    const auto x = static_cast<double>(view.step);
    if (view.step != last) ++changes;
    ASSERT_GE(view.step, last);
    last = view.step;
    if (view.step == 0) continue;
    ASSERT_EQ(view.total, 2 * view.step);
    ASSERT_EQ(view.step_s, x);
    ASSERT_EQ(view.loss, x);
    ASSERT_EQ(view.steps_here, view.step);
    ASSERT_EQ(view.busy_total_s, x * (x + 1) / 2);
  }
}

TEST(ProgressBoard, TakesSeveralWriters) {
  ProgressBoard board;
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t) {
    writers.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        board.beat();
        board.data_waited(1);
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(board.view().beats, 80'000);
  EXPECT_EQ(board.view().data_wait_s, 80'000);
}

}  // namespace
}  // namespace triptych

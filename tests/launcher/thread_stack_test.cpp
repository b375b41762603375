// Stacks of threads that spin, wait in the system, or do not answer.
#include "distributed/launcher/thread_stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/base/strings.h"

namespace triptych {

// Exported, so that their names can be known.
__attribute__((noinline)) void spin_for_the_test(const std::atomic<bool>& stop) {
  while (!stop) {
  }
}
__attribute__((noinline)) int read_for_the_test(int fd) {
  char byte = 0;
  const auto got = read(fd, &byte, 1);
  return got == 1 ? byte : -1;  // so that the call above is not the function's last one
}

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

pid_t tid_of_caller() {
  return static_cast<pid_t>(syscall(SYS_gettid));
}

/// A thread that tells its number, then works.
struct Worker {
  std::promise<pid_t> number;
  std::thread thread;
  pid_t tid = 0;

  template <class Work>
  explicit Worker(Work work)
      : thread([this, work] {
          number.set_value(tid_of_caller());
          work();
        }) {
    tid = number.get_future().get();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
};

TEST(ThreadStack, OfAThreadThatSpins) {
  std::atomic<bool> stop{false};
  Worker worker([&] { spin_for_the_test(stop); });
  const auto stack = join(thread_stack(worker.tid), "\n");
  stop = true;
  worker.thread.join();
  EXPECT_THAT(stack, AllOf(HasSubstr("spin_for_the_test(std::atomic<bool> const&)+0x"), HasSubstr("+0x")));
  EXPECT_THAT(stack, Not(HasSubstr("read_for_the_test")));
}

TEST(ThreadStack, OfAThreadThatWaitsInTheSystem) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  int got = 0;
  Worker worker([&] { got = read_for_the_test(pipe_ends[0]); });
  EXPECT_EQ(thread_state(worker.tid), 'S');
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(join(thread_stack(worker.tid), "\n"),
                AllOf(HasSubstr("read_for_the_test(int)+0x"), HasSubstr("(libc")));
  }
  const char byte = 42;
  ASSERT_EQ(write(pipe_ends[1], &byte, 1), 1);
  worker.thread.join();
  EXPECT_EQ(got, 42) << "the interrupted read went on";
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST(ThreadStack, OfAThreadThatBlocksSignals) {
  std::atomic<bool> stop{false}, asked{false};
  Worker worker([&] {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    spin_for_the_test(asked);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);  // the late signal comes now, and must not answer another question
    spin_for_the_test(stop);
  });
  const auto start = Clock::now();
  EXPECT_THAT(join(thread_stack(worker.tid), "\n"), HasSubstr("did not answer within 1 s"));
  EXPECT_LT(seconds_since(start), 10);
  asked = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_THAT(join(thread_stack(worker.tid), "\n"), HasSubstr("spin_for_the_test"));
  stop = true;
  worker.thread.join();
  EXPECT_THAT(join(thread_stack(worker.tid), "\n"), HasSubstr("no such thread"));
}

TEST(ThreadStack, OfTheCallerItself) {
  EXPECT_THAT(join(thread_stack(tid_of_caller()), "\n"), HasSubstr("triptych::thread_stack"));
}

TEST(ThreadStack, ManyAskAtOnce) {
  std::atomic<bool> stop{false};
  Worker spinning([&] { spin_for_the_test(stop); });
  std::vector<std::thread> asking;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i) {
    asking.emplace_back([&] {
      for (int n = 0; n < 10; ++n)
        right += join(thread_stack(spinning.tid), "\n").find("spin_for_the_test") != std::string::npos;
    });
  }
  for (auto& thread : asking) thread.join();
  stop = true;
  spinning.thread.join();
  EXPECT_EQ(right, 40);
}

TEST(ThreadStack, ShowsTheThreadsThatAskedForIt) {
  EXPECT_EQ(watched_stacks(), "");
  std::atomic<bool> stop{false};
  Worker worker([&] {
    const WatchedThread watched("collectives");
    spin_for_the_test(stop);
  });
  {
    const WatchedThread own("main");
    EXPECT_THAT(watched_stacks(), AllOf(HasSubstr("thread main (R)\n  #0 "), HasSubstr("thread collectives (R)\n  #0 "),
                                        HasSubstr("spin_for_the_test")));
  }
  EXPECT_THAT(watched_stacks(), Not(HasSubstr("thread main")));
  stop = true;
  worker.thread.join();
  EXPECT_EQ(watched_stacks(), "");
}

/// The state once it is `letter`, or the last one seen after a few seconds.
std::optional<char> state_when(pid_t pid, char letter) {
  for (int i = 0; i < 500 && process_state(pid) != letter; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return process_state(pid);
}

TEST(ProcessState, TellsStoppedFromRunningAndDead) {
  const auto child = fork();
  if (child == 0) {
    while (true) pause();
  }
  EXPECT_EQ(state_when(child, 'S'), 'S');
  kill(child, SIGSTOP);
  EXPECT_EQ(state_when(child, 'T'), 'T');
  kill(child, SIGCONT);
  EXPECT_EQ(state_when(child, 'S'), 'S');
  kill(child, SIGKILL);
  EXPECT_EQ(state_when(child, 'Z'), 'Z');
  waitpid(child, nullptr, 0);
  EXPECT_EQ(process_state(child), std::nullopt);
}

TEST(ProcessState, OfAProcessWithAnOddName) {
  const auto child = fork();
  if (child == 0) {
    pthread_setname_np(pthread_self(), "x) Z (y");
    while (true) pause();
  }
  EXPECT_EQ(state_when(child, 'S'), 'S');
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace triptych

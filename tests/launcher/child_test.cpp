// Real processes: output, ends, signals, what they inherit, and that none outlives its starter.
#include "distributed/launcher/child.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;

struct Line {
  Stream stream;
  std::string text;
  bool whole;
};

/// A child with everything it said.
struct Watched {
  Watched(boost::asio::io_context& io, const ChildCommand& command) : child(io, command, handlers()) {}

  ChildHandlers handlers() {
    return {.line =
                [this](Stream stream, auto text, bool whole) {
                  lines.push_back({stream, std::string(text), whole});
                },
            .end =
                [this](const ChildEnd& how) {
                  ++ends;
                  end = how;
                }};
  }

  std::vector<std::string> texts(Stream stream) const {
    std::vector<std::string> texts;
    for (const auto& line : lines) {
      if (line.stream == stream) texts.push_back(line.text);
    }
    return texts;
  }

  std::vector<Line> lines;
  int ends = 0;
  ChildEnd end;
  Child child;
};

struct OwnLoop {
  boost::asio::io_context loop;
};

/// With its loop, which outlives it.
struct WatchedAlone : OwnLoop, Watched {
  explicit WatchedAlone(const ChildCommand& command) : Watched(loop, command) {}
};

ChildCommand shell(const std::string& script) {
  ChildCommand command;
  command.words = {"sh", "-c", script};
  return command;
}

/// Runs one child to its end; fails after 30 s.
std::unique_ptr<WatchedAlone> run_child(const ChildCommand& command) {
  auto watched = std::make_unique<WatchedAlone>(command);
  watched->loop.run_for(30s);
  EXPECT_EQ(watched->ends, 1);
  EXPECT_TRUE(watched->child.ended());
  return watched;
}

/// Runs the loop until `reached`; false after 30 s.
bool run_until(boost::asio::io_context& io, const std::function<bool()>& reached) {
  const auto start = Clock::now();
  while (!reached() && seconds_since(start) < 30) {
    io.restart();
    io.run_for(10ms);
  }
  return reached();
}

std::size_t count_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

/// R, S, D, T, Z; 0: no such process.
char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto name_end = text.rfind(')');
  return name_end == text.npos || name_end + 2 >= text.size() ? '\0' : text[name_end + 2];
}

bool is_alive(pid_t pid) {
  const char state = state_of(pid);
  return state != '\0' && state != 'Z' && state != 'X';
}

bool dies_within(pid_t pid, double limit_s) {
  const auto start = Clock::now();
  while (is_alive(pid) && seconds_since(start) < limit_s) std::this_thread::sleep_for(10ms);
  return !is_alive(pid);
}

TEST(Child, BothStreamsByLine) {
  const auto child = run_child(shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done; echo; printf last"));
  EXPECT_THAT(child->texts(Stream::kOut), ElementsAre("out 1", "out 2", "out 3", "", "last"));
  EXPECT_THAT(child->texts(Stream::kErr), ElementsAre("err 1", "err 2", "err 3"));
  EXPECT_EQ(child->end.code, 0);
  EXPECT_TRUE(child->end.output_closed);
}

TEST(Child, LinesComeWhileItRuns) {
  boost::asio::io_context io;
  Watched child(io, shell("trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.05; done"));
  ASSERT_TRUE(run_until(io, [&] { return !child.lines.empty(); }));
  EXPECT_EQ(child.ends, 0);
  child.child.signal(SIGTERM);
  EXPECT_TRUE(run_until(io, [&] { return child.ends == 1; }));
  EXPECT_THAT(child.texts(Stream::kOut), ElementsAre("begun", "told"));
}

TEST(Child, ExitCodesAndSignals) {
  for (const int code : {0, 1, 3, 75, 127, 255}) {
    const auto child = run_child(shell("exit " + std::to_string(code)));
    EXPECT_EQ(child->end.code, code);
    EXPECT_EQ(child->end.signal, 0);
  }
  for (const int number : {SIGKILL, SIGSEGV, SIGTERM}) {
    const auto child = run_child(shell("kill -" + std::to_string(number) + " $$"));
    EXPECT_EQ(child->end.code, 128 + number);
    EXPECT_EQ(child->end.signal, number);
  }
}

TEST(Child, SignalsGoToTheProcessOrToItsGroup) {
  const std::string script = "trap 'echo caught; exit 9' USR1; sleep 60 & echo $!; wait";
  for (const bool group : {false, true}) {
    boost::asio::io_context io;
    auto command = shell(script);
    command.grace = 100ms;
    Watched child(io, command);
    ASSERT_TRUE(run_until(io, [&] { return !child.lines.empty(); }));
    const auto sleeper = static_cast<pid_t>(std::atoi(child.lines[0].text.c_str()));
    EXPECT_EQ(getpgid(sleeper), child.child.pid());
    group ? child.child.signal_group(SIGUSR1) : child.child.signal(SIGUSR1);
    ASSERT_TRUE(run_until(io, [&] { return child.ends == 1; }));
    EXPECT_EQ(child.end.code, 9);
    EXPECT_EQ(child.texts(Stream::kOut).back(), "caught");
    if (group) {
      EXPECT_TRUE(dies_within(sleeper, 10));
    } else {
      EXPECT_TRUE(is_alive(sleeper));
      kill(sleeper, SIGKILL);
    }
    child.child.signal(SIGUSR1);  // after the end: nothing, and no other process is hit
  }
}

TEST(Child, WhatCannotBeExecutedIsAnErrorWithItsReason) {
  const TempDir dir;
  std::ofstream(dir / "no_right") << "#!/bin/sh\n";
  std::ofstream(dir / "no_program") << "neither ELF nor script";
  std::filesystem::permissions(dir / "no_program", std::filesystem::perms::owner_all);
  const auto refusal = [](const std::vector<std::string>& words) -> std::string {
    boost::asio::io_context io;
    ChildCommand command;
    command.words = words;
    try {
      const Child child(io, command, {});
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "started";
  };
  EXPECT_THAT(refusal({"no-such-program-here"}), HasSubstr("cannot start no-such-program-here: not on PATH"));
  EXPECT_THAT(refusal({"/no/such/program"}), HasSubstr("/no/such/program: No such file or directory (errno 2)"));
  EXPECT_THAT(refusal({(dir / "no_right").string()}), HasSubstr("Permission denied (errno 13)"));
  EXPECT_THAT(refusal({(dir / "no_program").string()}), HasSubstr("Exec format error (errno 8)"));
  EXPECT_THAT(refusal({dir.path().string()}), HasSubstr("Permission denied"));
  EXPECT_THAT(refusal({}), HasSubstr("no program to start"));
  errno = 0;
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a failed start left a process";
  EXPECT_EQ(errno, ECHILD);
}

TEST(Child, HugeLinesComeInPieces) {
  auto command = shell("head -c 200000 /dev/zero | tr '\\0' a; echo; head -c 10 /dev/zero | tr '\\0' b; echo; echo c");
  const auto child = run_child(command);
  ASSERT_THAT(child->lines, SizeIs(6));
  std::string joined;
  for (int i = 0; i < 4; ++i) joined += child->lines[i].text;
  EXPECT_EQ(joined, std::string(200000, 'a'));
  EXPECT_THAT(child->lines[0].text, SizeIs(65536));
  EXPECT_FALSE(child->lines[2].whole);
  EXPECT_TRUE(child->lines[3].whole);
  EXPECT_EQ(child->lines[4].text, "bbbbbbbbbb");
  command.words = {"printf", "abcdefgh\nabcd\n\nabcde"};
  command.longest_line = 4;
  const auto small = run_child(command);
  EXPECT_THAT(small->texts(Stream::kOut), ElementsAre("abcd", "efgh", "abcd", "", "abcd", "e"));
}

TEST(Child, TenThousandLinesOfEachStream) {
  const auto child =
      run_child(shell("i=0; while [ $i -lt 10000 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done"));
  const auto out = child->texts(Stream::kOut), err = child->texts(Stream::kErr);
  ASSERT_THAT(out, SizeIs(10000));
  ASSERT_THAT(err, SizeIs(10000));
  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(out[i], "line " + std::to_string(i));
    ASSERT_EQ(err[i], "error " + std::to_string(i));
  }
}

TEST(Child, AGrandchildThatHoldsThePipeDoesNotHoldTheEnd) {
  auto command = shell("sleep 60 & echo $!; printf unfinished; exit 4");
  command.grace = 200ms;
  const auto start = Clock::now();
  const auto child = run_child(command);
  EXPECT_EQ(child->end.code, 4);
  EXPECT_FALSE(child->end.output_closed);
  EXPECT_LT(seconds_since(start), 20);
  ASSERT_THAT(child->texts(Stream::kOut), SizeIs(2));
  EXPECT_EQ(child->texts(Stream::kOut)[1], "unfinished");
  kill(static_cast<pid_t>(std::atoi(child->lines[0].text.c_str())), SIGKILL);
}

TEST(Child, OutputThatComesAfterTheEndIsRead) {
  const auto child = run_child(shell("(sleep 0.2; echo late) & exit 0"));
  EXPECT_THAT(child->texts(Stream::kOut), ElementsAre("late"));
  EXPECT_TRUE(child->end.output_closed);
}

TEST(Child, ClosedOutputIsNotItsEnd) {
  const auto child = run_child(shell("exec >&- 2>&-; sleep 0.3; exit 6"));
  EXPECT_EQ(child->end.code, 6);
}

TEST(Child, InheritsOnlyWhatItShould) {
  const int leaky = ::open("/dev/null", O_RDONLY);  // without close-on-exec
  ASSERT_GE(leaky, 3);
  const auto old_pipe = ::signal(SIGPIPE, SIG_IGN);
  sigset_t block, before;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  sigprocmask(SIG_BLOCK, &block, &before);
  ::setenv("TRIPTYCH_TEST_KEPT", "kept", 1);
  ::setenv("TRIPTYCH_TEST_SET", "old", 1);
  auto command = shell(
      "ls /proc/self/fd | tr '\\n' ' '; echo; readlink /proc/self/fd/0; grep -E 'Sig(Blk|Ign)' "
      "/proc/self/status; echo $TRIPTYCH_TEST_KEPT $TRIPTYCH_TEST_SET; env | grep -c TRIPTYCH_TEST_SET");
  command.environment = {{"TRIPTYCH_TEST_SET", "new value"}};
  const auto child = run_child(command);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGPIPE, old_pipe);
  ::close(leaky);
  EXPECT_THAT(child->texts(Stream::kOut),
              ElementsAre("0 1 2 3 ", "/dev/null", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000",
                          "kept new value", "1"));  // 3 is the folder that ls reads
}

TEST(Child, IsKilledWithItsStarter) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t starter = ::fork();
  if (starter == 0) {
    boost::asio::io_context io;
    Watched child(io, shell("exec sleep 60"));
    const pid_t pid = child.child.pid();
    [[maybe_unused]] const auto ignored = ::write(ends[1], &pid, sizeof(pid));
    io.run();
    ::_exit(0);
  }
  pid_t sleeper = 0;
  ASSERT_EQ(::read(ends[0], &sleeper, sizeof(sleeper)), static_cast<ssize_t>(sizeof(sleeper)));
  EXPECT_TRUE(is_alive(sleeper));
  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);
  EXPECT_TRUE(dies_within(sleeper, 10));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Child, DestroyedItIsKilledReapedAndSilent) {
  boost::asio::io_context io;
  int calls = 0;
  const auto count = [&](auto&&...) { ++calls; };
  auto child = std::make_unique<Child>(io, shell("sleep 60 & wait"), ChildHandlers{.line = count, .end = count});
  const pid_t pid = child->pid();
  io.run_for(50ms);
  EXPECT_TRUE(is_alive(pid));
  child.reset();
  io.restart();
  io.run_for(10s);
  EXPECT_TRUE(io.stopped()) << "something still waits";
  EXPECT_EQ(state_of(pid), '\0') << "not reaped";
  EXPECT_EQ(calls, 0);
}

TEST(Child, MayBeDestroyedByItsOwnHandlers) {
  for (const bool by_line : {true, false}) {
    boost::asio::io_context io;
    std::unique_ptr<Child> child;
    int calls = 0;
    ChildHandlers handlers;
    handlers.line = [&](Stream, std::string_view, bool) {
      ++calls;
      if (by_line) child.reset();
    };
    handlers.end = [&](const ChildEnd&) {
      ++calls;
      child.reset();
    };
    child = std::make_unique<Child>(io, shell("echo a; echo b; echo c"), std::move(handlers));
    io.run_for(30s);
    EXPECT_EQ(child, nullptr);
    EXPECT_EQ(calls, by_line ? 1 : 4);
  }
}

TEST(Child, ManyAtOnceEachHasItsEnd) {
  boost::asio::io_context io;
  std::vector<std::unique_ptr<Watched>> children;
  for (int i = 0; i < 30; ++i) children.push_back(std::make_unique<Watched>(io, shell("exit " + std::to_string(i))));
  io.run_for(30s);
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(children[i]->ends, 1);
    EXPECT_EQ(children[i]->end.code, i);
  }
}

TEST(Child, TwoHundredLeaveNoDescriptor) {
  boost::asio::io_context io;
  const auto one = [&](const std::string& program) {
    ChildCommand command;
    command.words = {program};
    int ends = 0;
    ChildHandlers handlers;
    handlers.end = [&](const ChildEnd&) { ++ends; };
    try {
      const Child child(io, command, std::move(handlers));
      EXPECT_TRUE(run_until(io, [&] { return ends == 1; }));
    } catch (const ConfigError&) {
      EXPECT_EQ(program, "/no/such/program");
    }
  };
  one("true");
  const auto before = count_descriptors();
  for (int i = 0; i < 200; ++i) one(i % 10 == 0 ? "/no/such/program" : "true");
  EXPECT_EQ(count_descriptors(), before);
}

TEST(Child, AChattyOneDoesNotStopTheLoop) {
  boost::asio::io_context io;
  Watched child(io, shell("yes"));
  int ticks = 0;
  boost::asio::steady_timer timer(io);
  std::function<void()> tick = [&] {
    timer.expires_after(1ms);
    timer.async_wait([&](const auto&) {
      if (++ticks < 20) return tick();
      child.child.signal_group(SIGKILL);
    });
  };
  tick();
  io.run_for(30s);
  EXPECT_EQ(ticks, 20);
  EXPECT_EQ(child.end.signal, SIGKILL);
  EXPECT_THAT(child.texts(Stream::kErr), IsEmpty());
}

}  // namespace
}  // namespace triptych

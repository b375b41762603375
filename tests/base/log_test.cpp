// Who speaks where: ranks, log.txt, the progress line on a terminal and elsewhere.
#include "core/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>

#include "core/base/atomic_file.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::HasSubstr;
using testing::Not;

/// What a process wrote.
struct Output {
  std::string err, out;
};

std::string drain(int fd) {
  std::string bytes;
  char piece[4096];
  while (true) {
    const auto got = read(fd, piece, sizeof piece);
    if (got <= 0) return bytes;  // a closed terminal reads as an error
    bytes.append(piece, static_cast<std::size_t>(got));
  }
}

/// Runs `action` in a process of its own, whose stderr is a pipe or a terminal. The log belongs to the process, so this
/// test binary itself never logs.
Output output_of(bool terminal, const std::function<void()>& action) {
  int err[2] = {-1, -1}, out[2] = {-1, -1};
  if ((terminal ? openpty(&err[0], &err[1], nullptr, nullptr, nullptr) : pipe(err)) != 0 || pipe(out) != 0) {
    throw std::runtime_error("no pipe");
  }
  const auto child = fork();
  if (child == 0) {
    dup2(err[1], STDERR_FILENO);
    dup2(out[1], STDOUT_FILENO);
    action();
    _exit(0);
  }
  close(err[1]);
  close(out[1]);
  Output result{drain(err[0]), drain(out[0])};
  close(err[0]);
  close(out[0]);
  waitpid(child, nullptr, 0);
  return result;
}

TEST(Log, RankZeroSpeaksOnStderrOnly) {
  const auto output = output_of(false, [] {
    start_log(0, 2);
    log_info("hello {} %s");
    log_warning("careful");
    log_error("broken");
  });
  EXPECT_THAT(output.err, testing::MatchesRegex("..:..:.. hello \\{\\} %s\n..:..:.. warning: careful\n..:..:.. error: "
                                                "broken\n"));
  EXPECT_EQ(output.out, "");
}

TEST(Log, OtherRanksSpeakFromWarningsOn) {
  const auto output = output_of(false, [] {
    start_log(3, 4);
    log_info("hello");
    show_progress("step 1");
    log_warning("careful");
  });
  EXPECT_THAT(output.err, Not(HasSubstr("hello")));
  EXPECT_THAT(output.err, Not(HasSubstr("step")));
  EXPECT_THAT(output.err, HasSubstr("[rank 3] warning: careful\n"));
}

TEST(Log, LogFileGetsTheSameLinesAndIsAppendedTo) {
  const TempDir folder;
  const auto path = folder / "log.txt";
  write_file_atomically(path, "earlier\n");
  output_of(false, [&] {
    start_log(0, 1);
    log_info("before");
    log_to_file(path);
    log_info("inside");
    show_progress("step 1");
    close_log_file();
    log_info("after");
  });
  const auto text = read_file(path);
  EXPECT_THAT(text, testing::MatchesRegex("earlier\n....-..-.. ..:..:...... inside\n"));
}

TEST(Log, AnUnwritableLogFileIsAStorageError) {
  const TempDir folder;
  const auto output = output_of(false, [&] {
    try {
      log_to_file(folder.path());
    } catch (const StorageError& error) {
      log_error(error.what());
    }
  });
  EXPECT_THAT(output.err, HasSubstr("error: cannot open the log " + folder.path().string()));
}

TEST(Log, AFullDiskDoesNotEndTheRun) {
  const auto output = output_of(false, [] {
    start_log(0, 1);
    log_to_file("/dev/full");
    log_info("one");
    log_info("two");
  });
  EXPECT_THAT(output.err, HasSubstr("two"));
}

TEST(Log, ProgressInAPipeIsALineNowAndThen) {
  const auto output = output_of(false, [] {
    start_log(0, 1);
    for (int i = 0; i < 100; ++i) show_progress("step " + std::to_string(i));
    end_progress();
  });
  EXPECT_THAT(output.err, testing::MatchesRegex("..:..:.. step 0\n"));
}

TEST(Log, ProgressOnATerminalIsRedrawnBelowTheLog) {
  const auto output = output_of(true, [] {
    start_log(0, 1);
    show_progress("step 1");
    log_info("saved");
    end_progress();
    log_info("done");
  });
  const auto clear = output.err.find("\r\x1b[K");
  const auto saved = output.err.find("saved\r\n");
  const auto again = output.err.rfind("step 1");
  ASSERT_NE(clear, std::string::npos);
  EXPECT_LT(output.err.find("step 1"), clear);
  EXPECT_LT(clear, saved);
  EXPECT_LT(saved, again);
  EXPECT_THAT(output.err.substr(again), testing::MatchesRegex("step 1\r\n..:..:.. done\r\n"));
}

TEST(Log, ProgressIsDrawnTenTimesASecondAtMost) {
  const auto start = std::chrono::steady_clock::now();
  const auto output = output_of(true, [] {
    start_log(0, 1);
    for (int i = 0; i < 1000; ++i) show_progress("x");
  });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_LE(std::count(output.err.begin(), output.err.end(), 'x'), 1 + 10 * elapsed.count());
}

TEST(Log, ProgressIsCutToTheTerminal) {
  const auto output = output_of(true, [] {
    const winsize size{.ws_row = 5, .ws_col = 11, .ws_xpixel = 0, .ws_ypixel = 0};
    ioctl(STDERR_FILENO, TIOCSWINSZ, &size);
    start_log(0, 1);
    show_progress("0123456789abcdef");
  });
  EXPECT_EQ(output.err, "\r0123456789\x1b[K");
}

TEST(Log, RanksAreChecked) {
  const auto output = output_of(false, [] {
    try {
      start_log(2, 2);
    } catch (const std::invalid_argument&) {
      log_error("refused");
    }
  });
  EXPECT_THAT(output.err, HasSubstr("refused"));
}

}  // namespace
}  // namespace triptych

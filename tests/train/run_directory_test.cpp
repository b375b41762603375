// One owner at a time, and a dead owner's lock is free.
#include "core/train/run_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "core/base/errors.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

TEST(RunDirectory, IsOwnedByOne) {
  const TempDir folder;
  {
    const RunDirectory first(folder / "run");
    try {
      const RunDirectory second(folder / "run");
      FAIL() << "two owners";
    } catch (const ConfigError& error) {
      char host[256] = {};
      gethostname(host, sizeof(host) - 1);
      EXPECT_NE(std::string(error.what()).find("locked by " + std::string(host) + ":" + std::to_string(getpid())),
                std::string::npos)
          << error.what();
    }
    EXPECT_FALSE(first.holds_run());
    first.write_config("a: 1\n");
    EXPECT_TRUE(first.holds_run());
  }
  EXPECT_NO_THROW(RunDirectory(folder / "run"));
}

TEST(RunDirectory, ADeadOwnersLockIsTakenOver) {
  const TempDir folder;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const RunDirectory owned(folder / "run");
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THROW(RunDirectory(folder / "run"), ConfigError);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(RunDirectory(folder / "run"));
  close(ready[0]);
  close(ready[1]);
}

TEST(RunDirectory, ARunWhoseCheckpointsAreGoneIsLeftAlone) {
  const TempDir folder;
  const auto path = folder / "run";
  RunDirectory(path).write_config("run: {name: a}\n");
  std::filesystem::remove(path / "checkpoints");
  EXPECT_NO_THROW(RunDirectory{path}) << "nothing was logged yet, so nothing is lost";
  std::filesystem::remove(path / "checkpoints");
  std::ofstream(path / "metrics.jsonl") << "{\"step\": 500}\n";
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_THAT([&] { RunDirectory{path}; },
                testing::ThrowsMessage<CheckpointError>(testing::HasSubstr("is gone; put it back")));
  }
}

TEST(RunDirectory, APathThatCannotBeAFolderIsNamed) {
  const TempDir folder;
  std::ofstream(folder / "file") << "x";
  try {
    const RunDirectory directory(folder / "file" / "run");
    FAIL() << "accepted";
  } catch (const StorageError& error) {
    EXPECT_NE(std::string(error.what()).find("file/run/checkpoints"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace triptych

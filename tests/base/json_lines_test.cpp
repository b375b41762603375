// JSON lines: order, length, cutting back.
#include "core/base/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

TEST(JsonLines, WritesOneObjectALine) {
  const TempDir folder;
  JsonLines lines(folder / "metrics.jsonl");
  EXPECT_EQ(lines.length(), 0);
  lines.write({{"step", 1}, {"loss", 0.1}, {"a", "x\ny"}});
  lines.write_text(R"({"step":2})");
  EXPECT_EQ(read_file(folder / "metrics.jsonl"), "{\"step\":1,\"loss\":0.1,\"a\":\"x\\ny\"}\n{\"step\":2}\n");
  EXPECT_EQ(lines.length(), static_cast<std::int64_t>(read_file(folder / "metrics.jsonl").size()));
}

TEST(JsonLines, WhatJsonCannotHoldIsReplaced) {
  const TempDir folder;
  JsonLines lines(folder / "a");
  lines.write({{"loss", std::numeric_limits<double>::quiet_NaN()}, {"key", "\xff"}});
  const auto object = nlohmann::json::parse(read_file(folder / "a"));
  EXPECT_TRUE(object["loss"].is_null());
  EXPECT_EQ(object["key"], "\xef\xbf\xbd");
}

TEST(JsonLines, GoesOnWhereItStopped) {
  const TempDir folder;
  JsonLines(folder / "a").write({{"step", 1}});
  JsonLines again(folder / "a");
  EXPECT_EQ(again.length(), 11);
  again.write({{"step", 2}});
  EXPECT_EQ(read_file(folder / "a"), "{\"step\":1}\n{\"step\":2}\n");
}

TEST(JsonLines, IsCutBackToARecordedLength) {
  const TempDir folder;
  JsonLines lines(folder / "a");
  lines.write({{"step", 1}});
  const auto length = lines.length();
  lines.write({{"step", 2}});
  lines.truncate_to(length);
  EXPECT_EQ(lines.length(), length);
  lines.write({{"step", 3}});
  lines.sync();
  EXPECT_EQ(read_file(folder / "a"), "{\"step\":1}\n{\"step\":3}\n");
}

TEST(JsonLines, MissingLinesAreAnError) {
  const TempDir folder;
  JsonLines lines(folder / "a");
  lines.write({{"step", 1}});
  try {
    lines.truncate_to(100);
    FAIL() << "nothing was thrown";
  } catch (const StorageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("has 11 bytes, but the checkpoint counted 100"));
  }
  EXPECT_THROW(lines.truncate_to(-1), StorageError);
  EXPECT_EQ(lines.length(), 11);
}

TEST(JsonLines, RefusesAFolder) {
  const TempDir folder;
  EXPECT_THROW(JsonLines(folder.path()), StorageError);
  EXPECT_THROW(JsonLines(folder / "absent" / "a"), StorageError);
}

TEST(JsonLines, AFullDiskIsAStorageError) {
  JsonLines lines("/dev/full");
  EXPECT_THROW(lines.write({{"step", 1}}), StorageError);
}

TEST(JsonLines, HalfALineIsTakenBack) {
  const TempDir folder;
  const auto child = fork();
  if (child == 0) {  // a limit on file sizes stands for a disk that is full for a while
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 20;
    setrlimit(RLIMIT_FSIZE, &limit);
    JsonLines lines(folder / "a");
    lines.write({{"step", 1}});
    bool refused = false;
    try {
      lines.write({{"step", 2}});
    } catch (const StorageError&) {
      refused = true;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    lines.write({{"step", 3}});
    _exit(refused && lines.length() == 22 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(folder / "a"), "{\"step\":1}\n{\"step\":3}\n");
}

}  // namespace
}  // namespace triptych

// Reads that fail or take long while a run or a tool works: waited for a few times, then a bad record with that reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "tests/apps/tiny_run.h"
#include "tests/support/paths.h"

namespace triptych {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// A record of `write_shard` takes 2,048 bytes of the archive. Its first and last 16 KiB are read when it is opened.
constexpr int kDiskRecords = 40, kFirstFailing = 10, kRecordBytes = 2048;

class FailingDiskTest : public testing::Test {
 protected:
  FailingDiskTest() : config_(write_tiny_run(dir_)) {
    write_shard(dir_ / "text.tar", kDiskRecords, true);
    EXPECT_EQ(run_shell("triptych data index " + config_).code, 0);
  }
  /// `failing` records cannot be read the first `times` times.
  Outcome run(const std::string& arguments, int failing, int times, const std::string& more = "") {
    const int from = kFirstFailing * kRecordBytes;
    return run_shell("env LD_PRELOAD=" + build_path("tests/apps/libflaky_read.so") +
                     " FLAKY_FILE=text.tar FLAKY_FROM=" + std::to_string(from) +
                     " FLAKY_TO=" + std::to_string(from + failing * kRecordBytes) +
                     " FLAKY_TIMES=" + std::to_string(times) + " " + more + " triptych " + arguments);
  }
  Outcome verify(int failing, int times, const std::string& more = "") {
    return run("data verify " + config_ + " --corpus text --format json", failing, times, more);
  }
  TempDir dir_;
  std::string config_;
};

TEST_F(FailingDiskTest, AnErrorThatPassesIsWaitedFor) {
  const auto outcome = verify(1, 2);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("waiting for data"), HasSubstr("Input/output error")));
  EXPECT_EQ(json::parse(outcome.out)["unusable"], 0);
}

TEST_F(FailingDiskTest, AnErrorThatStaysIsABadRecordAndThenTheBudgets) {
  const auto within = verify(1, 1'000'000);
  EXPECT_EQ(within.code, 0) << within.err;
  const auto bad = json::parse(within.out);
  EXPECT_EQ(bad["unusable"], 1) << bad;
  EXPECT_EQ(bad["bad_records"][0]["key"], std::to_string(1000 + kFirstFailing));
  EXPECT_THAT(bad["bad_records"][0]["reason"], HasSubstr("Input/output error"));
  // A device that is gone is not waited for.
  const auto beyond = verify(12, 1'000'000, "FLAKY_ERROR=" + std::to_string(ENXIO));
  EXPECT_EQ(beyond.code, 3) << beyond.err;
  EXPECT_EQ(json::parse(beyond.out)["unusable"], 12);
  EXPECT_THAT(beyond.err, testing::Not(HasSubstr("waiting for data")));
}

TEST_F(FailingDiskTest, ARunGoesOnPastABadSectorAndAStall) {
  const auto train = [&](const std::string& name, int failing, int times, const std::string& more) {
    const auto folder = dir_ / name;
    const auto outcome =
        run("train " + config_ + " --run-dir " + folder.string() +
                " --set 'eval=[]' --set 'schedule.total={steps: 5}' --set 'checkpoint.every={steps: 0}'",
            failing, times, more);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    // After 30 s the log names what the loader waits for.
    const bool named =
        outcome.err.find("waiting for data: " + (dir_ / "text.tar").string() + ", key '1010'; ") != std::string::npos;
    EXPECT_EQ(named, name == "stalled") << outcome.err;
    return slurp(folder / "skipped.jsonl");
  };
  EXPECT_EQ(train("stalled", 1, 1, "FLAKY_STALL=32"), "");
  const auto skipped = train("failed", 1, 1'000'000, "");
  EXPECT_THAT(skipped, AllOf(HasSubstr("text.tar"), HasSubstr("Input/output error")));
  EXPECT_EQ(std::count(skipped.begin(), skipped.end(), '\n'), 1) << skipped;
}

}  // namespace
}  // namespace triptych

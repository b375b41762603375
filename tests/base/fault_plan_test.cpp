// Plans are read strictly, strike where and as often as they say, and cost nothing when there is none.
#include "core/base/fault_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "core/base/disk_ops.h"
#include "core/base/errors.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class FaultPlanTest : public testing::Test {
 protected:
  ~FaultPlanTest() override {
    plan_faults({});
    tell_fault_rank(0);
    tell_fault_step(0);
  }
  std::vector<Fault> read_plan(const std::string& text) {
    std::ofstream(folder_ / "plan.json") << text;
    return read_fault_plan(folder_ / "plan.json");
  }
  std::string refusal(const std::string& text) {
    try {
      read_plan(text);
      return "accepted";
    } catch (const ConfigError& error) {
      return error.what();
    }
  }
  TempDir folder_;
};

TEST_F(FaultPlanTest, ReadsWhatIsWritten) {
  const auto faults = read_plan(R"([
  {"rank": 1, "step": 3, "point": "ckpt.write", "action": "enospc", "count": 0, "skip": 2, "bytes": 100},
  {"point": "fwd", "action": "delay", "seconds": 0.5}
])");
  ASSERT_EQ(faults.size(), 2U);
  EXPECT_EQ(faults[0].rank, 1);
  EXPECT_EQ(faults[0].step, 3);
  EXPECT_EQ(faults[0].point, FaultPoint::kCheckpointWrite);
  EXPECT_EQ(faults[0].action, FaultAction::kNoSpace);
  EXPECT_EQ(faults[0].count, 0);
  EXPECT_EQ(faults[0].skip, 2);
  EXPECT_EQ(faults[0].bytes, 100);
  EXPECT_EQ(faults[1].rank, -1);
  EXPECT_EQ(faults[1].step, -1);
  EXPECT_EQ(faults[1].point, FaultPoint::kForward);
  EXPECT_EQ(faults[1].action, FaultAction::kDelay);
  EXPECT_EQ(faults[1].count, 1);
  EXPECT_EQ(faults[1].seconds, 0.5);
  EXPECT_TRUE(read_plan("[]").empty());
}

TEST_F(FaultPlanTest, EveryPointAndActionHasItsName) {
  const std::pair<const char*, FaultPoint> points[] = {{"data.read", FaultPoint::kDataRead},
                                                       {"decode", FaultPoint::kDecode},
                                                       {"fwd", FaultPoint::kForward},
                                                       {"bwd", FaultPoint::kBackward},
                                                       {"allreduce.enter", FaultPoint::kAllReduceEnter},
                                                       {"allreduce.exit", FaultPoint::kAllReduceExit},
                                                       {"opt", FaultPoint::kOptimizer},
                                                       {"ema", FaultPoint::kEma},
                                                       {"queue", FaultPoint::kQueue},
                                                       {"ckpt.open", FaultPoint::kCheckpointOpen},
                                                       {"ckpt.write", FaultPoint::kCheckpointWrite},
                                                       {"ckpt.fsync", FaultPoint::kCheckpointSync},
                                                       {"ckpt.manifest", FaultPoint::kCheckpointManifest},
                                                       {"ckpt.rename", FaultPoint::kCheckpointRename},
                                                       {"ckpt.dirsync", FaultPoint::kCheckpointFolderSync},
                                                       {"ckpt.prune", FaultPoint::kCheckpointPrune},
                                                       {"eval", FaultPoint::kEvaluation},
                                                       {"shutdown", FaultPoint::kShutdown}};
  for (const auto& [name, point] : points) {
    const auto faults = read_plan("[{\"point\": \"" + std::string(name) + "\", \"action\": \"kill\"}]");
    EXPECT_EQ(faults.at(0).point, point) << name;
  }
  const std::pair<const char*, FaultAction> actions[] = {
      {"kill", FaultAction::kKill},   {"stop", FaultAction::kStop},      {"segv", FaultAction::kSegv},
      {"abort", FaultAction::kAbort}, {"exit0", FaultAction::kExit0},    {"throw", FaultAction::kThrow},
      {"spin", FaultAction::kSpin},   {"enospc", FaultAction::kNoSpace}, {"eio", FaultAction::kIoError},
      {"short", FaultAction::kShort}};
  for (const auto& [name, action] : actions) {
    const auto faults = read_plan("[{\"point\": \"ckpt.write\", \"action\": \"" + std::string(name) + "\"}]");
    EXPECT_EQ(faults.at(0).action, action) << name;
  }
  EXPECT_EQ(read_plan(R"([{"point": "bwd", "action": "nan"}])").at(0).action, FaultAction::kNan);
  EXPECT_EQ(read_plan(R"([{"point": "opt", "action": "flip"}])").at(0).action, FaultAction::kFlip);
}

TEST_F(FaultPlanTest, RefusesWhatItWouldNotDo) {
  EXPECT_THAT(refusal(R"({"point": "fwd"})"),
              AllOf(HasSubstr("plan.json:1:1: faults: got"), HasSubstr("expected a list")));
  EXPECT_THAT(refusal("[\n{\"point\": \"fwd\", \"action\": \"kill\"},\n{\"ponit\": \"fwd\", \"action\": \"kill\"}]"),
              AllOf(HasSubstr("plan.json:3:"), HasSubstr("faults.1.ponit: unknown key"), HasSubstr("point")));
  EXPECT_THAT(refusal(R"([{"point": "forward", "action": "kill"}])"),
              HasSubstr("got 'forward', expected one of data.read"));
  EXPECT_THAT(refusal(R"([{"point": "fwd", "action": "none"}])"), HasSubstr("got 'none', expected one of kill"));
  EXPECT_THAT(refusal(R"([{"action": "kill"}])"), HasSubstr("faults.0.point: is missing"));
  EXPECT_THAT(refusal(R"([{"point": "fwd"}])"), HasSubstr("faults.0.action: is missing"));
  EXPECT_THAT(refusal(R"([{"point": "fwd", "action": "kill", "step": 1.5}])"), HasSubstr("faults.0.step"));
  EXPECT_THAT(refusal(R"([{"point": "fwd", "action": "kill", "rank": -2}])"), HasSubstr("faults.0.rank"));
  EXPECT_THAT(refusal(R"([{"point": "fwd", "action": "kill", "point": "bwd"}])"), HasSubstr("given twice"));
  EXPECT_THAT(refusal(R"([{"point": "fwd", "action": "enospc"}])"), HasSubstr("enospc cannot be done at fwd"));
  EXPECT_THAT(refusal(R"([{"point": "eval", "action": "flip"}])"), HasSubstr("flip cannot be done at eval"));
  EXPECT_THAT(refusal(R"([{"point": "ckpt.fsync", "action": "short"}])"), HasSubstr("short cannot be done at"));
  EXPECT_THAT(refusal(R"([{"point": "fwd", "action": "delay"}])"), HasSubstr("faults.0.seconds"));
  EXPECT_THAT(refusal(R"([{"point": "fwd", "action": "kill", "seconds": 1}])"), HasSubstr("faults.0.seconds"));
  EXPECT_THAT(refusal(R"([{"point": "ckpt.open", "action": "eio", "bytes": 1}])"), HasSubstr("faults.0.bytes"));
  EXPECT_THAT(refusal("[{"), HasSubstr("plan.json"));
  EXPECT_THROW(read_fault_plan(folder_ / "absent.json"), ConfigError);
}

TEST_F(FaultPlanTest, StrikesByRankStepSkipAndCount) {
  plan_faults(
      {{.rank = 1, .step = 3, .point = FaultPoint::kOptimizer, .action = FaultAction::kThrow, .count = 2, .skip = 1}});
  const auto strikes = [] {
    try {
      fault_point(FaultPoint::kOptimizer);
      return false;
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "planned fault: throw at opt, rank 1, step 3");
      return true;
    }
  };
  EXPECT_FALSE(strikes());
  tell_fault_rank(1);
  EXPECT_FALSE(strikes());
  tell_fault_step(3);
  EXPECT_NO_THROW(fault_point(FaultPoint::kForward));
  EXPECT_FALSE(strikes()) << "one is passed";
  EXPECT_TRUE(strikes());
  EXPECT_TRUE(strikes());
  EXPECT_FALSE(strikes()) << "two were asked for";
}

TEST_F(FaultPlanTest, AThreadMayWorkOnAStepOfItsOwn) {
  plan_faults({{.step = 5, .point = FaultPoint::kDecode, .action = FaultAction::kThrow, .count = 0}});
  tell_fault_step(2);
  EXPECT_NO_THROW(fault_point(FaultPoint::kDecode));
  {
    const FaultStep ahead(5);
    EXPECT_THROW(fault_point(FaultPoint::kDecode), std::runtime_error);
    std::thread([] { EXPECT_NO_THROW(fault_point(FaultPoint::kDecode)); }).join();
  }
  EXPECT_NO_THROW(fault_point(FaultPoint::kDecode));
}

TEST_F(FaultPlanTest, AnOrderGoesToTheCodeThatCanDoIt) {
  plan_faults({{.point = FaultPoint::kAllReduceExit, .action = FaultAction::kFlip},
               {.point = FaultPoint::kDataRead, .action = FaultAction::kIoError}});
  EXPECT_FALSE(fault_point(FaultPoint::kAllReduceExit));
  EXPECT_FALSE(fault_point(FaultPoint::kAllReduceExit, FaultServes::kDisk));
  EXPECT_EQ(fault_point(FaultPoint::kAllReduceExit, FaultServes::kNumbers).action, FaultAction::kFlip);
  EXPECT_FALSE(fault_point(FaultPoint::kAllReduceExit, FaultServes::kNumbers));
  EXPECT_EQ(fault_point(FaultPoint::kDataRead, FaultServes::kDisk).error_number(), EIO);
}

TEST_F(FaultPlanTest, ADelayIsThatLong) {
  plan_faults({{.point = FaultPoint::kForward, .action = FaultAction::kDelay, .seconds = 0.05}});
  const auto start = std::chrono::steady_clock::now();
  fault_point(FaultPoint::kForward);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(50));
}

// ---- How checkpoints' disk operations fail ----

class FailingDiskOpsTest : public FaultPlanTest {
 protected:
  /// Writes and finishes a file; what went wrong, or nothing.
  std::string write_error(const std::string& bytes) {
    auto& disk = system_disk();
    const auto path = folder_ / "file";
    disk.remove_all(path);
    try {
      auto file = disk.create(path);
      disk.write(file, bytes.data(), bytes.size(), path);
      disk.finish(std::move(file), path);
      return "";
    } catch (const StorageError& error) {
      return std::string(error.what()) + " [" + std::to_string(error.error_number()) + "]";
    }
  }
};

TEST_F(FailingDiskOpsTest, AFullDiskTakesSoManyBytes) {
  plan_faults({{.point = FaultPoint::kCheckpointWrite, .action = FaultAction::kNoSpace, .bytes = 3}});
  EXPECT_THAT(write_error("0123456789"),
              AllOf(HasSubstr("cannot write"), HasSubstr("needs 10 B"), HasSubstr("[" + std::to_string(ENOSPC) + "]")));
  EXPECT_EQ(read_file(folder_ / "file"), "012");
  EXPECT_EQ(write_error("0123456789"), "");
}

TEST_F(FailingDiskOpsTest, ShortWritesLoseNothing) {
  plan_faults({{.point = FaultPoint::kCheckpointWrite, .action = FaultAction::kShort, .count = 3, .bytes = 4},
               {.point = FaultPoint::kCheckpointWrite, .action = FaultAction::kShort}});
  EXPECT_EQ(write_error("0123456789abcdef"), "");
  EXPECT_EQ(read_file(folder_ / "file"), "0123456789abcdef");
}

TEST_F(FailingDiskOpsTest, EveryOperationReportsItsError) {
  const auto path = folder_ / "step";
  auto& disk = system_disk();
  const auto expect_error = [&](FaultPoint point, const std::function<void()>& operation, const char* what) {
    plan_faults({{.point = point, .action = FaultAction::kIoError}});
    try {
      operation();
      ADD_FAILURE() << what << ": no error";
    } catch (const StorageError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(what), HasSubstr("Input/output error")));
    }
    EXPECT_NO_THROW(operation()) << what << ": the plan is done";
  };
  expect_error(
      FaultPoint::kCheckpointOpen, [&] { disk.make_folders(path / "a" / "b"); }, "cannot create");
  expect_error(
      FaultPoint::kCheckpointOpen, [&] { disk.create(path / "file"); }, "cannot create");
  expect_error(
      FaultPoint::kCheckpointSync, [&] { disk.sync_file(path / "file"); }, "cannot sync");
  expect_error(
      FaultPoint::kCheckpointFolderSync, [&] { disk.sync_folder(path); }, "cannot sync folder");
  expect_error(
      FaultPoint::kCheckpointRename, [&] { disk.exchange_durably(path / "file", path / "a"); }, "cannot replace");
  expect_error(
      FaultPoint::kCheckpointRename, [&] { disk.rename_durably(path / "a", path / "c"); }, "cannot rename");
  expect_error(
      FaultPoint::kCheckpointPrune, [&] { disk.remove_all(path); }, "cannot remove");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(FailingDiskOpsTest, AFileThatIsThereIsNotOverwritten) {
  std::ofstream(folder_ / "file") << "precious";
  EXPECT_THROW(system_disk().create(folder_ / "file"), StorageError);
  std::filesystem::create_symlink(folder_ / "file", folder_ / "link");
  EXPECT_THROW(system_disk().create(folder_ / "link"), StorageError);
  system_disk().remove_all(folder_ / "link");
  EXPECT_EQ(read_file(folder_ / "file"), "precious");
}

}  // namespace
}  // namespace triptych

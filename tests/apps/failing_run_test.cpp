// How real runs fail: refused at start, or ended on every rank at once, with the cause said once and its exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/apps/tiny_run.h"
#include "tests/support/paths.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::int64_t errors_in(const Outcome& outcome) {
  std::int64_t said = 0;
  for (auto at = outcome.err.find("error: "); at != std::string::npos; at = outcome.err.find("error: ", at + 1)) ++said;
  return said;
}

TEST(FailingRun, AnEvaluatorThatTheObjectiveCannotServeIsRefusedAtStart) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto root = dir.path().string();
  const auto outcome = run_shell("mpirun -np 2 triptych train " + config +
                                 " --set 'eval=[{name: classify, corpus: {kind: image_label, path: " + root +
                                 "/label.tar, class_names: " + root + "/classes.txt}}]'");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("eval classify needs a classification head"), HasSubstr("unicl")));
  EXPECT_EQ(errors_in(outcome), 1) << outcome.err;
}

TEST(FailingRun, AMetricThatNoEvaluatorGivesIsRefusedAtStart) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto outcome =
      run_shell("triptych train " + config + " --set 'checkpoint.keep_best={metric: eval/zero_shot/accuracy}'");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("eval/zero_shot/accuracy"), HasSubstr("eval/zero_shot/per_class_mean")));
}

TEST(FailingRun, AModelBeyondTheMemoryIsRefusedBeforeItIsBuilt) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  for (const std::string dry : {"", " --dry-run"}) {
    const auto outcome = run_shell("triptych train " + config + " --set model.text.width=1000000" + dry);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("model: needs about"), HasSubstr("shrink the model")));
  }
}

TEST(FailingRun, TwoBinariesAreRefused) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  auto program = slurp(build_path("triptych"));
  const auto note = program.find(std::string("\3\0\0\0GNU\0", 8));  // the ELF note that holds the build id
  ASSERT_NE(note, std::string::npos);
  program[note + 8] = static_cast<char>(program[note + 8] ^ 1);
  spill(dir / "other", program);
  std::filesystem::permissions(dir / "other", std::filesystem::perms::owner_all);
  const auto outcome =
      run_shell("mpirun -np 1 triptych train " + config + " : -np 1 " + (dir / "other").string() + " train " + config);
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the program of rank 1"));
  EXPECT_EQ(errors_in(outcome), 1) << outcome.err;
}

TEST(FailingRun, AnErrorDoesNotWaitForASaveInFlight) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  ASSERT_EQ(run_shell("triptych data index " + config).code, 0);  // index files are synced too
  // Nothing is finite from the second step on; the save after step 1 is still being written when step 62 gives up.
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome =
      run_shell("mpirun -x LD_PRELOAD=" + build_path("tests/apps/libslow_sync.so") + " -np 2 triptych train " + config +
                " --run-dir " + (dir / "run").string() +
                " --set optimizer.lr=1e30 --set optimizer.clip_norm=0 --set train.max_skipped_steps=60"
                " --set 'schedule.total={steps: 200}' --set 'checkpoint.every={steps: 1}' --set 'eval=[]'");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(outcome.code, 6) << outcome.err;
  EXPECT_LT(seconds.count(), 30) << "the save takes a minute";
  EXPECT_THAT(outcome.err, HasSubstr("finite"));
  EXPECT_EQ(errors_in(outcome), 1) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(dir / "run" / "checkpoints" / "step_00000001")) << "complete or absent";
}

TEST(FailingRun, ACorpusWithoutOneUsableRecordEndsItOnAllRanks) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  auto bytes = slurp(dir / "label.tar");
  for (auto at = bytes.find("RIFF"); at != std::string::npos; at = bytes.find("RIFF", at)) bytes.replace(at, 4, "JUNK");
  spill(dir / "label.tar", bytes);
  const auto at_start = run_shell("triptych train " + config + " --dry-run");  // its evaluation needs the corpus too
  EXPECT_EQ(at_start.code, 2) << at_start.err;
  EXPECT_THAT(at_start.err,
              AllOf(HasSubstr("evaluation corpus"), HasSubstr("none of its first 16 records can be used")));
  const auto outcome = run_shell("mpirun -np 2 triptych train " + config + " --run-dir " + (dir / "run").string() +
                                 " --set data.error_budget=1 --set 'eval=[]'");
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("corpus label: none of 100 records tried"), HasSubstr("data verify")));
  EXPECT_EQ(errors_in(outcome), 1) << outcome.err;
  EXPECT_THAT(slurp(dir / "run" / "skipped.jsonl"), HasSubstr("label.tar"));
}

}  // namespace
}  // namespace triptych

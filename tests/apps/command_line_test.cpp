// What users type and get back: exit codes, one-line messages, nothing but results on stdout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/apps/run_program.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/paths.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

/// Expects exit code 2, one line on stderr that holds every one of `words`, and nothing on stdout.
void expect_refused(const std::string& command, const std::vector<std::string>& words) {
  const auto outcome = run_shell(command);
  EXPECT_EQ(outcome.code, 2) << command << "\n" << outcome.err;
  EXPECT_EQ(outcome.error_lines(), 1) << outcome.err;
  EXPECT_THAT(outcome.out, IsEmpty());
  for (const auto& word : words) EXPECT_THAT(outcome.err, HasSubstr(word)) << command;
}

TEST(CommandLine, HelpEverywhere) {
  const auto plain = run_shell("triptych");
  EXPECT_EQ(plain.code, 0);
  EXPECT_THAT(plain.out, AllOf(HasSubstr("train"), HasSubstr("doctor"), Not(HasSubstr("config-reference"))));
  EXPECT_EQ(run_shell("triptych --help").out, plain.out);
  EXPECT_THAT(run_shell("triptych data --help").out,
              AllOf(HasSubstr("pack"), HasSubstr("filter"), HasSubstr("verify")));
  for (const std::string command : {"train", "eval", "inspect", "doctor", "data index", "data stats", "data show",
                                    "data verify", "data pack", "data filter", "data concepts", "bench"}) {
    const auto help = run_shell("triptych " + command + " --help");
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_THAT(help.err, IsEmpty()) << command;
    EXPECT_THAT(help.out, HasSubstr("triptych " + command)) << command;
    if (command != "train") {
      EXPECT_THAT(help.out, HasSubstr("--format")) << command;
    }
  }
  EXPECT_THAT(run_shell("triptych train --help").out,
              AllOf(HasSubstr("--set"), HasSubstr("--resume"), HasSubstr("--allow-change"), HasSubstr("--dry-run"),
                    HasSubstr("--print-config"), HasSubstr("--run-dir")));
}

TEST(CommandLine, VersionNamesTheRevision) {
  const auto version = run_shell("triptych --version");
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out, MatchesRegex("triptych [0-9.]+ \\(git ([0-9a-f]+(\\+changes)?|unknown)\\)\n"));
}

TEST(CommandLine, WrongWordsAreRefusedWithTheNearest) {
  expect_refused("triptych trian x.yaml", {"unknown command 'trian'", "'train'", "doctor"});
  expect_refused("triptych train configs/none.yaml --resum never", {"--resum", "'--resume'", "triptych train --help"});
  expect_refused("triptych train", {"CONFIG", "required"});
  expect_refused("triptych eval zero-short --checkpoint x", {"zero-short", "zero-shot"});
  expect_refused("triptych eval zero-shot", {"--checkpoint"});
  expect_refused("triptych doctor --format yaml", {"--format", "yaml", "json"});
  expect_refused("triptych data show configs/none.yaml --count 0", {"--count"});
  expect_refused("triptych data phrases configs/none.yaml --import a --export b", {"--import", "--export"});
  expect_refused("triptych data phrases configs/none.yaml --export b --threads 2", {"--export", "--threads"});
  expect_refused("triptych data phrases configs/none.yaml --import a --threads 2", {"--import", "--threads"});
  expect_refused("triptych bench index --seconds 3", {"bench index: takes only --records and --format"});
  expect_refused("triptych data show configs/none.yaml --out x", {"--out", "triptych data show --help"});
  expect_refused("triptych data pack configs/none.yaml --out x --reszie 3", {"--reszie", "'--resize'"});
  expect_refused("triptych data pck configs/none.yaml", {"unknown action 'pck'", "'pack'", "verify"});
  expect_refused("triptych data pack configs/none.yaml", {"--out", "required"});
  expect_refused("triptych inspect no/such/path", {"no/such/path"});
}

TEST(CommandLine, ConfigurationErrorsNameFileLineAndNearestKey) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  expect_refused("triptych train " + (dir / "absent.yaml").string(), {"absent.yaml"});
  expect_refused("triptych train " + config + " --set optimizer.lrr=1", {"--set", "lrr", "optimizer.lr"});
  expect_refused("triptych train " + config + " --set train.global_batch=0 --print-config", {"train.global_batch"});
  spill(dir / "typo.yaml", "extends: run.yaml\ntrain:\n  globl_batch: 3\n");
  expect_refused("triptych train " + (dir / "typo.yaml").string(), {"typo.yaml:3", "globl_batch", "global_batch"});
}

TEST(CommandLine, PrintedConfigurationReadsBackAsItself) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto first = run_shell("triptych train " + config + " --print-config --set optimizer.lr=0.00123");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("0.00123"), HasSubstr("weight_decay")));
  EXPECT_THAT(first.err, IsEmpty());
  spill(dir / "printed.yaml", first.out);
  const auto second = run_shell("triptych train " + (dir / "printed.yaml").string() + " --print-config");
  EXPECT_EQ(second.out, first.out);
}

TEST(CommandLine, RanksSayAConfigurationErrorOnce) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  // Before any transport is up, and after it: 5 rows a rank do not divide.
  for (const std::string wrong : {"optimizer.lrr=1", "train.global_batch=11"}) {
    const auto outcome = run_shell("mpirun -np 2 triptych train " + config + " --set " + wrong);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    std::int64_t said = 0;
    for (std::size_t at = outcome.err.find("error: "); at != std::string::npos;
         at = outcome.err.find("error: ", at + 1)) {
      ++said;
    }
    EXPECT_EQ(said, 1) << outcome.err;
  }
}

TEST(CommandLine, DoctorGivesOneJsonObject) {
  const auto outcome = run_shell("triptych doctor --format json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto report = nlohmann::json::parse(outcome.out);
  EXPECT_GE(report.at("max_local_ranks").get<int>(), 1);
  EXPECT_TRUE(report.at("gpus").is_array());
  EXPECT_THAT(report.at("libraries").at("LibTorch").get<std::string>(), HasSubstr("2.11"));
  for (const auto& missing : report.at("missing")) EXPECT_FALSE(missing.at("do").get<std::string>().empty());
  EXPECT_THAT(run_shell("triptych doctor").out, AllOf(HasSubstr("max_local_ranks"), HasSubstr("kernel_rules")));
}

TEST(CommandLine, DoctorNamesMissingCorporaWithTheCommand) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  EXPECT_THAT(run_shell("triptych doctor " + config).out, Not(HasSubstr("corpus text:")));
  std::filesystem::remove(dir / "text.tar");
  EXPECT_THAT(run_shell("triptych doctor " + config).out, HasSubstr("text.tar"));
}

TEST(ConfigReference, DocsAreNotStale) {
  const auto outcome = run_shell("triptych config-reference");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, slurp(source_path("docs/config_reference.md")))
      << "refresh it: build/release/triptych config-reference > docs/config_reference.md";
}

}  // namespace
}  // namespace triptych

// Broken tars and pictures in the real program: `triptych data verify` ends with 3 when more records than allowed are
// bad and lists each with its reason; it ends with 2 when a corpus cannot be opened. Ten bad records are always
// allowed, so each broken thing stands in its corpus twelve times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/run_program.h"
#include "tests/support/broken_pictures.h"
#include "tests/support/broken_tars.h"
#include "tests/support/tiny_png.h"

namespace triptych {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::StartsWith;

constexpr std::size_t kCopies = 12;

/// Verifies the corpus of captions in FOLDER/*.tar.
std::string verify(const std::filesystem::path& folder) {
  const auto config = (folder / "run.yaml").string();
  spill(config, "data: {corpora: [{name: broken, path: '" + (folder / "*.tar").string() + "'}], error_budget: 0}\n");
  return "triptych data verify " + config + " --threads 1 --format json";
}

/// A corpus that cannot be opened: no result, and one line.
void expect_refused(const Outcome& outcome, const std::string& reason) {
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, IsEmpty());
  const auto said = complaint(outcome);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_THAT(said, MatchesRegex("[0-9:]+ error: corpus broken: .*\n"));
  EXPECT_THAT(said, HasSubstr(reason));
}

/// `records` were read and `bad` of them are listed; with more than ten the program ends with 3 and says so in a line.
nlohmann::json expect_result(const Outcome& outcome, std::size_t records, std::size_t bad) {
  EXPECT_EQ(outcome.code, bad > 10 ? 3 : 0);
  const auto said = complaint(outcome);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), bad > 10 ? 1 : 0) << said;
  EXPECT_THAT(said, MatchesRegex(bad > 10 ? "[0-9:]+ error: data verify: .*than data.error_budget allows .*\n" : ""));
  const auto result = nlohmann::json::parse(outcome.out, nullptr, false);
  if (!result.is_object()) {
    ADD_FAILURE() << "no result: " << outcome.out;
    return nlohmann::json::array();
  }
  EXPECT_EQ(result["corpora"][0]["records"], records);
  EXPECT_EQ(result["corpora"][0]["unusable"], bad);
  EXPECT_EQ(result["corpora"][0]["allowed"], 10);
  EXPECT_EQ(result["unusable"], bad);
  EXPECT_EQ(result["bad_records"].size(), bad);
  return result["bad_records"];
}

void expect_outcome(const BrokenTar& expected, const Outcome& outcome) {
  if (!expected.refused.empty()) return expect_refused(outcome, expected.refused);
  const auto bad_of_one = expected.bad.size();
  const auto bad = expect_result(outcome, kCopies * (expected.captions.size() + bad_of_one), kCopies * bad_of_one);
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const auto told = bad[i]["key"].get<std::string>() + "@" + std::to_string(bad[i]["offset"].get<std::int64_t>()) +
                      ": " + bad[i]["reason"].get<std::string>();
    EXPECT_THAT(told, StartsWith(expected.bad[i % bad_of_one]));
    EXPECT_THAT(bad[i]["shard"].get<std::string>(),
                HasSubstr("/shard-" + std::to_string(10 + i / bad_of_one) + ".tar"));
  }
}

TEST(BrokenDataProgram, Tars) {
  const TempDir dir;
  const auto tars = broken_tars();
  std::vector<std::string> commands;
  std::size_t broken = 0;  // the others are odd and shall be read
  for (const auto& tar : tars) {
    for (std::size_t copy = 0; copy < kCopies; ++copy) {
      write_test_file(dir / tar.name / ("shard-" + std::to_string(10 + copy) + ".tar"), tar.tar);
    }
    commands.push_back(verify(dir / tar.name));
    broken += tar.bad.empty() && tar.refused.empty() ? 0 : 1;
  }
  EXPECT_GE(broken, 25u);
  const auto outcomes = run_each(commands);
  for (std::size_t i = 0; i < tars.size(); ++i) {
    SCOPED_TRACE(tars[i].name);
    expect_outcome(tars[i], outcomes[i]);
  }
}

/// A corpus in `folder` of a sound record and `copies` records with `picture`; returns the command that verifies it.
std::string verify_pictures(const std::filesystem::path& folder, std::string_view picture, std::size_t copies) {
  TarWriter tar = first_record();
  for (std::size_t copy = 0; copy < copies; ++copy) {
    const auto key = "broken" + std::to_string(10 + copy);
    tar.file(key + ".jpg", picture).file(key + ".txt", "a caption");
  }
  write_test_file(folder / "shard.tar", tar.end().bytes());
  return verify(folder);
}

TEST(BrokenDataProgram, Pictures) {
  const TempDir dir;
  const auto pictures = broken_pictures();
  EXPECT_GE(pictures.size(), 20u);
  std::vector<std::string> commands;
  for (const auto& picture : pictures) {
    const std::string_view file(reinterpret_cast<const char*>(picture.file.data()), picture.file.size());
    commands.push_back(verify_pictures(dir / picture.name, file, kCopies));
  }
  const auto outcomes = run_each(commands);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    SCOPED_TRACE(pictures[i].name);
    const auto bad = expect_result(outcomes[i], kCopies + 1, kCopies);
    for (std::size_t copy = 0; copy < bad.size(); ++copy) {
      EXPECT_EQ(bad[copy]["key"], "broken" + std::to_string(10 + copy));
      std::istringstream fragments(pictures[i].fragments);
      for (std::string fragment; std::getline(fragments, fragment, '|');) {
        EXPECT_THAT(bad[copy]["reason"].get<std::string>(), HasSubstr(fragment));
      }
    }
  }
}

TEST(BrokenDataProgram, TheBudgetIsWhatDecides) {
  const TempDir dir;
  const auto verified = [&](std::size_t copies, const std::string& picture) {
    return run_shell(verify_pictures(dir / std::to_string(copies), picture, copies));
  };
  expect_result(verified(10, "GIF89a\1"), 11, 10);
  expect_result(verified(11, "GIF89a\1"), 12, 11);
  expect_result(verified(12, tiny_png(4, 3, 9)), 13, 0);
}

}  // namespace
}  // namespace triptych

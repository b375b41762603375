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

/// Verifies the corpora of captions in FOLDER/NAME/*.tar.
std::string verify(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  std::string corpora;
  for (const auto& name : names) {
    corpora += "    - {name: " + name + ", path: '" + (folder / name / "*.tar").string() + "'}\n";
  }
  const auto config = (folder / (names.front() + ".yaml")).string();
  spill(config, "data:\n  error_budget: 0\n  corpora:\n" + corpora);
  return "triptych data verify " + config + " --threads 1 --format json";
}

/// A corpus that cannot be opened: no result, and one line.
void expect_refused(const Outcome& outcome, const BrokenTar& tar) {
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, IsEmpty());
  const auto said = complaint(outcome);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_THAT(said, MatchesRegex("[0-9:]+ error: corpus " + std::string(tar.name) + ": .*\n"));
  EXPECT_THAT(said, HasSubstr(tar.refused));
}

/// More than ten of them are bad: the program ends with 3 and says why in one line. Returns the result on stdout.
nlohmann::json result_of(const Outcome& outcome, bool beyond_budget) {
  EXPECT_EQ(outcome.code, beyond_budget ? 3 : 0);
  const auto said = complaint(outcome);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), beyond_budget ? 1 : 0) << said;
  EXPECT_THAT(said, MatchesRegex(beyond_budget ? "[0-9:]+ error: data verify: .* data.error_budget allows .*\n" : ""));
  auto result = nlohmann::json::parse(outcome.out, nullptr, false);
  if (result.is_object()) return result;
  ADD_FAILURE() << "no result: " << outcome.out;
  return {{"corpora", nlohmann::json::array()}, {"bad_records", nlohmann::json::array()}};
}

/// What the result lists of one corpus.
struct Listed {
  std::int64_t records = -1, unusable = -1;
  std::vector<nlohmann::json> bad;
};

Listed listed(const nlohmann::json& result, const std::string& corpus) {
  Listed found;
  for (const auto& row : result["corpora"]) {
    if (row["corpus"] == corpus) found.records = row["records"], found.unusable = row["unusable"];
  }
  for (const auto& record : result["bad_records"]) {
    if (record["corpus"] == corpus) found.bad.push_back(record);
  }
  return found;
}

void expect_listed(const nlohmann::json& result, const BrokenTar& tar) {
  const auto found = listed(result, tar.name);
  const auto of_one = tar.bad.size();
  EXPECT_EQ(found.records, kCopies * (tar.captions.size() + of_one));
  EXPECT_EQ(found.unusable, kCopies * of_one);
  ASSERT_EQ(found.bad.size(), kCopies * of_one);
  for (std::size_t i = 0; i < found.bad.size(); ++i) {
    const auto& bad = found.bad[i];
    const auto place = bad["key"].get<std::string>() + "@" + std::to_string(bad["offset"].get<std::int64_t>());
    EXPECT_THAT(place + ": " + bad["reason"].get<std::string>(), StartsWith(tar.bad[i % of_one]));
    EXPECT_THAT(bad["shard"].get<std::string>(), HasSubstr("/shard-" + std::to_string(10 + i / of_one) + ".tar"));
  }
}

void expect_listed(const nlohmann::json& result, const BrokenPicture& picture) {
  const auto found = listed(result, picture.name);
  EXPECT_EQ(found.records, kCopies + 1);
  EXPECT_EQ(found.unusable, kCopies);
  ASSERT_EQ(found.bad.size(), kCopies);
  for (std::size_t i = 0; i < kCopies; ++i) {
    EXPECT_EQ(found.bad[i]["key"], "broken" + std::to_string(10 + i));
    std::istringstream fragments(picture.fragments);
    for (std::string fragment; std::getline(fragments, fragment, '|');) {
      EXPECT_THAT(found.bad[i]["reason"].get<std::string>(), HasSubstr(fragment));
    }
  }
}

/// Every broken tar has its own run; those that are only odd are read in one.
TEST(BrokenDataProgram, Tars) {
  const TempDir dir;
  std::vector<BrokenTar> odd, broken;
  std::vector<std::string> odd_names, commands;
  for (const auto& tar : broken_tars()) {
    for (std::size_t copy = 0; copy < kCopies; ++copy) {
      write_test_file(dir / tar.name / ("shard-" + std::to_string(10 + copy) + ".tar"), tar.tar);
    }
    const bool sound = tar.bad.empty() && tar.refused.empty();
    (sound ? odd : broken).push_back(tar);
    if (sound) odd_names.push_back(tar.name);
    if (!sound) commands.push_back(verify(dir.path(), {tar.name}));
  }
  commands.push_back(verify(dir.path(), odd_names));
  const auto outcomes = run_each(commands);
  EXPECT_GE(broken.size(), 25u);
  for (std::size_t i = 0; i < broken.size(); ++i) {
    SCOPED_TRACE(broken[i].name);
    if (!broken[i].refused.empty()) expect_refused(outcomes[i], broken[i]);
    if (broken[i].refused.empty()) expect_listed(result_of(outcomes[i], true), broken[i]);
  }
  const auto result = result_of(outcomes.back(), false);
  for (const auto& tar : odd) {
    SCOPED_TRACE(tar.name);
    expect_listed(result, tar);
  }
}

/// A corpus in `folder` of a sound record and `copies` records with `picture`.
void write_pictures(const std::filesystem::path& folder, std::string_view picture, std::size_t copies) {
  TarWriter tar = first_record();
  for (std::size_t copy = 0; copy < copies; ++copy) {
    const auto key = "broken" + std::to_string(10 + copy);
    tar.file(key + ".jpg", picture).file(key + ".txt", "a caption");
  }
  write_test_file(folder / "shard.tar", tar.end().bytes());
}

/// All in one run, and each third alone: a start of the program takes a third of a second.
TEST(BrokenDataProgram, Pictures) {
  const TempDir dir;
  const auto pictures = broken_pictures();
  std::vector<std::string> names, commands;
  for (const auto& picture : pictures) {
    const std::string_view file(reinterpret_cast<const char*>(picture.file.data()), picture.file.size());
    write_pictures(dir / picture.name, file, kCopies);
    names.push_back(picture.name);
  }
  for (std::size_t i = 0; i < names.size(); i += 3) commands.push_back(verify(dir.path(), {names[i]}));
  EXPECT_GE(commands.size(), 20u);
  const auto alone = run_each(commands);
  const auto together = result_of(run_shell(verify(dir.path(), names)), true);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    SCOPED_TRACE(pictures[i].name);
    expect_listed(together, pictures[i]);
    if (i % 3 == 0) expect_listed(result_of(alone[i / 3], true), pictures[i]);
  }
}

TEST(BrokenDataProgram, TheBudgetIsWhatDecides) {
  const TempDir dir;
  const auto verified = [&](const std::string& name, const std::string& picture, std::size_t copies) {
    write_pictures(dir / name, picture, copies);
    return run_shell(verify(dir.path(), {name}));
  };
  EXPECT_EQ(listed(result_of(verified("ten", "GIF89a\1", 10), false), "ten").unusable, 10);
  EXPECT_EQ(listed(result_of(verified("eleven", "GIF89a\1", 11), true), "eleven").unusable, 11);
  EXPECT_EQ(listed(result_of(verified("sound", tiny_png(4, 3, 9), 12), false), "sound").unusable, 0);
}

}  // namespace
}  // namespace triptych

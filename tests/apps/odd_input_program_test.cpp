// Limits of the process, odd names and odd captions, met by the program as a user starts it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/apps/tiny_run.h"

namespace triptych {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// The tiny run with `path` as its corpus of captions.
std::string with_path(const std::string& config, const std::string& path) {
  return config + " --corpus text --set \"data.corpora.0.path='" + path + "'\"";
}

// ---- E12: file descriptors -----------------------------------------------------------------------------------------

class FileLimitTest : public testing::Test {
 protected:
  FileLimitTest() : config_(write_tiny_run(dir_)) {
    for (int i = 0; i < kShards; ++i)
      std::filesystem::copy_file(dir_ / "text.tar", dir_ / ("many-" + std::to_string(100 + i) + ".tar"));
  }
  Outcome limited(int files, const std::string& arguments) {
    return run_shell("bash -c 'ulimit -n " + std::to_string(files) + "; exec triptych \"$@\"' triptych " + arguments);
  }
  static constexpr int kShards = 150;
  TempDir dir_;
  std::string config_;
};

TEST_F(FileLimitTest, MoreShardsThanOpenFilesWork) {
  const auto many = with_path(config_, (dir_ / "many-*.tar").string());
  for (const char* action : {"data index ", "data verify "}) {
    const auto outcome = limited(64, action + many + " --format json");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(json::parse(outcome.out)["corpora"][0]["records"], 20 * kShards);
  }
  const auto trained = limited(64, "train " + config_ + " --set data.corpora.0.path=" + (dir_ / "many-*.tar").string() +
                                       " --set 'eval=[]' --run-dir " + (dir_ / "run").string());
  EXPECT_EQ(trained.code, 0) << trained.err;
}

/// Too few even for that: the limit is named, and no index that is there counts as absent.
TEST_F(FileLimitTest, ALimitThatIsTooLowIsNamed) {
  const auto many =
      with_path(config_, (dir_ / "many-*.tar").string()) + " --set data.index_dir=" + (dir_ / "index").string();
  ASSERT_EQ(run_shell("triptych data index " + many).code, 0);
  int refused = 0;
  for (int files = 4; files < 16; ++files) {
    const auto outcome = limited(files, "data verify " + many + " --threads 1 --format json");
    if (outcome.err.find("ulimit -n") == std::string::npos) continue;  // libraries did not load, or it was enough
    ++refused;
    EXPECT_EQ(outcome.code, 7) << files << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("the limit is " + std::to_string(files) + " open files"));
  }
  EXPECT_GT(refused, 0);
}

// ---- E13: names and patterns ---------------------------------------------------------------------------------------

TEST(OddNames, AreReadAndShownEscaped) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  for (const std::string name :
       {"with space.tar", "qu\"ote.tar", "line\nend.tar", "-dash.tar", "\xC3\xA9\xE2\x82\xAC.tar"}) {
    const auto folder = dir / "odd";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    std::filesystem::copy_file(dir / "text.tar", folder / name);
    const auto shown = run_shell("triptych data show " + with_path(config, (folder / "*").string()) + " --count 1");
    EXPECT_EQ(shown.code, 0) << name << shown.err;
    EXPECT_THAT(shown.out, HasSubstr("a picture with the number 0"));
    EXPECT_THAT(shown.out, HasSubstr(name == "line\nend.tar" ? "line\\nend.tar" : name));
    const auto again = run_shell("triptych data verify " + with_path(config, (folder / "*").string()));
    EXPECT_EQ(again.code, 0) << name << again.err;
  }
}

TEST(OddNames, PatternsAreBounded) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto root = dir.path().string();
  const std::pair<std::string, std::string> cases[] = {
      {root + "/{000000000000..999999999999}.tar", "names"},
      {root + "/{0..999999}{0..999999}.tar", "names"},
      {root + "/none-*.tar", "no file matches"},
  };
  for (const auto& [pattern, message] : cases) {
    const auto outcome = run_shell("bash -c 'ulimit -v 8000000; exec triptych \"$@\"' triptych data index " +
                                   with_path(config, pattern));
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("corpus text: path"), HasSubstr(message)));
  }
}

// ---- E14: captions -------------------------------------------------------------------------------------------------

TEST(OddCaptions, AreTakenOrCountedAndEscapedEverywhere) {
  const TempDir dir, scratch;
  const auto config = write_tiny_run(dir);
  const std::string captions[] = {"", std::string(1 << 20, 'x'), "\xF0\x9F\x98\x80\xF0\x9F\x8E\x89",
                                  "red \x1b[31m text", "</script><script>alert(1)</script>"};
  for (int i = 0; i < 5; ++i) {
    spill(scratch / (std::to_string(i) + ".webp"), made_up_picture(i));
    spill(scratch / (std::to_string(i) + ".txt"), captions[i]);
  }
  ASSERT_EQ(
      std::system(("cd " + scratch.path().string() + " && tar -cf " + (dir / "text.tar").string() + " *").c_str()), 0);
  const auto verified = run_shell("triptych data verify " + config + " --corpus text --format json");
  EXPECT_EQ(verified.code, 0) << verified.err;
  const auto result = json::parse(verified.out);
  EXPECT_EQ(result["unusable"], 2);
  EXPECT_THAT(result["bad_records"].dump(),
              AllOf(HasSubstr("JSON keys txt absent or empty"), HasSubstr("at most 65536")));
  const auto stats =
      run_shell("triptych data stats " + config + " --corpus text --html " + (dir / "page.html").string());
  EXPECT_EQ(stats.code, 0) << stats.err;
  EXPECT_THAT(slurp(dir / "page.html"), AllOf(Not(HasSubstr("<script>alert")), Not(HasSubstr("\x1b"))));
  const auto trained = run_shell("triptych train " + config + " --set 'eval=[]' --run-dir " + (dir / "run").string());
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ((stats.out + stats.err + trained.out + trained.err).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace triptych

// data pack and data phrases killed (SIGKILL) while they work: the same command again ends with the same bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/apps/run_program.h"
#include "tests/support/tar_writer.h"
#include "tests/support/tiny_png.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using namespace std::chrono_literals;

/// Starts the program and kills it as soon as `reached` holds. False: it had ended before.
bool kill_when(const std::vector<std::string>& arguments, const std::function<bool()>& reached) {
  const auto program = build_path("triptych");
  std::vector<char*> words = {const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (!std::freopen("/dev/null", "w", stdout) || !std::freopen("/dev/null", "w", stderr)) _exit(126);
    execv(words[0], words.data());
    _exit(127);
  }
  int status = 0;
  const auto begin = std::chrono::steady_clock::now();
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (reached() || std::chrono::steady_clock::now() - begin > 60s) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      break;
    }
    std::this_thread::sleep_for(200us);
  }
  return WIFSIGNALED(status);
}

std::string command_of(const std::vector<std::string>& arguments) {
  std::string command = "triptych";
  for (const auto& argument : arguments) command += " '" + argument + "'";
  return command + " --format json";
}

json finish(const std::vector<std::string>& arguments) {
  const auto outcome = run_shell(command_of(arguments));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return json::parse(outcome.out, nullptr, false);
}

std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files[entry.path().filename()] = slurp(entry.path());
  return files;
}

/// `records` pictures of side x side with captions, and a configuration that names them.
std::string write_corpus(const TempDir& dir, int records, int side, const std::string& more = "") {
  TarWriter tar;
  for (int i = 0; i < records; ++i) {
    const auto key = std::to_string(1000 + i);
    tar.file(key + ".png", tiny_png(side, side, i)).file(key + ".txt", "a picture of the number " + std::to_string(i));
  }
  write_test_file(dir / "all.tar", tar.end().bytes());
  const auto config = (dir / "run.yaml").string();
  spill(config, "data: {corpora: [{name: all, path: " + (dir / "all.tar").string() + more + "}]}\n");
  return config;
}

TEST(KilledTool, PackGoesOnToTheSameBytes) {
  const TempDir dir;
  const auto config = write_corpus(dir, 96, 300);
  const auto pack = [&](const std::string& out) {
    return std::vector<std::string>{"data",     "pack", config,         "--out", (dir / out).string(),
                                    "--resize", "200",  "--shard-size", "8",     "--threads",
                                    "1"};
  };
  finish(pack("whole"));
  const auto whole = files_in(dir / "whole");
  ASSERT_EQ(whole.size(), 25U) << "12 shards, their indexes, pack.json";

  // Some files more each time: the folder claimed, half a shard, a shard without its index, whole ones. Counted,
  // because a late kill may have let any file be finished.
  const auto count = [&] {
    std::error_code missing;
    const fs::directory_iterator files(dir / "killed", missing);
    return missing ? 0 : std::distance(begin(files), end(files));
  };
  for (const int more : {1, 2, 3, 4}) {
    const auto before = count();
    ASSERT_TRUE(kill_when(pack("killed"), [&] { return count() >= before + more; })) << "ended before it was killed";
    ASSERT_LT(count(), static_cast<std::ptrdiff_t>(whole.size()));
  }
  EXPECT_GE(finish(pack("killed"))["shards_found"], 2);
  EXPECT_TRUE(files_in(dir / "killed") == whole);
}

TEST(KilledTool, PhrasesGoOnToTheSameBytes) {
  const TempDir dir;
  const auto config = write_corpus(dir, 1100, 1);
  const auto phrases = [&](const std::string& file) {
    return std::vector<std::string>{
        "data", "phrases", config, "--set", "data.corpora.0.phrases=" + (dir / file).string(), "--threads", "1"};
  };
  finish(phrases("whole"));
  const auto part = dir / "killed.part";
  const auto grown_to = [&](std::uintmax_t bytes) {
    return [=] {
      std::error_code missing;
      const auto size = fs::file_size(part, missing);
      return !missing && size >= bytes;
    };
  };
  // The file made; then behind one, two and three waves of blocks.
  std::uintmax_t last = 0;
  for (const std::uintmax_t more : {0, 1000, 1000, 1000}) {
    ASSERT_TRUE(kill_when(phrases("killed"), grown_to(last + more))) << "it ended before it was killed";
    ASSERT_FALSE(fs::exists(dir / "killed"));
    last = fs::file_size(part);
  }
  EXPECT_GE(finish(phrases("killed"))["phrases"][0]["kept"], 3 * 64);
  EXPECT_TRUE(slurp(dir / "killed") == slurp(dir / "whole"));
  EXPECT_FALSE(fs::exists(part));
}

}  // namespace
}  // namespace triptych

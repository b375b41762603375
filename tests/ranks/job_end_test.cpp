// How a job ends: exit code, what is printed, how long it takes until no process is left.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/paths.h"

namespace {

const std::string kRankProgram = triptych::build_path("tests/ranks/rank_program");

struct JobEnd {
  int code = -1;
  std::string output;             // stdout and stderr
  double seconds_from_fault = 0;  // until mpirun has returned
  int left_alive = 0;             // processes of the job that still run then
};

/// Processes, zombies aside, whose command line contains `word`.
int alive_with(const std::string& word) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto text_of = [&](const char* file) {
      std::ifstream in(entry.path() / file);
      std::stringstream text;
      text << in.rdbuf();
      return text.str();
    };
    if (!std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0]))) continue;
    const auto state = text_of("stat");
    const auto after_name = state.rfind(')');
    if (after_name == std::string::npos || state.compare(after_name, 3, ") Z") == 0) continue;
    count += text_of("cmdline").find(word) != std::string::npos;
  }
  return count;
}

JobEnd run_job(std::vector<std::string> command, const std::map<std::string, std::string>& variables = {}) {
  const std::string mark = "job-" + std::to_string(getpid());
  command.push_back(mark);
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = fork();
  if (child == 0) {
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
    dup2(pipe_ends[1], STDOUT_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    std::vector<char*> argv;
    for (auto& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(99);
  }
  close(pipe_ends[1]);
  JobEnd end;
  auto fault = std::chrono::steady_clock::now();
  char buffer[4096];
  for (ssize_t n = 0; (n = read(pipe_ends[0], buffer, sizeof buffer)) > 0;) {
    const bool before = end.output.find("FAULT") == std::string::npos;
    end.output.append(buffer, static_cast<std::size_t>(n));
    if (before && end.output.find("FAULT") != std::string::npos) fault = std::chrono::steady_clock::now();
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  end.seconds_from_fault = std::chrono::duration<double>(std::chrono::steady_clock::now() - fault).count();
  end.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  end.left_alive = alive_with(mark);
  return end;
}

JobEnd mpirun(const std::string& ranks, const std::string& how, const std::string& device = "cpu",
              const std::map<std::string, std::string>& variables = {}) {
  return run_job({MPIRUN, "-np", ranks, kRankProgram, how, device}, variables);
}

int occurrences(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

void expect_quick_end(const JobEnd& end, int code) {
  EXPECT_EQ(end.code, code) << end.output;
  EXPECT_LT(end.seconds_from_fault, 5) << end.output;
  EXPECT_EQ(end.left_alive, 0);
}

TEST(JobEnd, InGoodOrder) {
  const auto end = mpirun("3", "place");
  EXPECT_EQ(end.code, 0) << end.output;
  EXPECT_EQ(end.output, "mpirun 3 cpu|\n");
  EXPECT_EQ(mpirun("2", "preempted").code, 75);
}

TEST(JobEnd, ARankThrows) {
  const auto end = mpirun("3", "throw");
  expect_quick_end(end, 1);
  EXPECT_EQ(occurrences(end.output, "ERROR surprise on rank 1"), 1) << end.output;
  EXPECT_EQ(occurrences(end.output, "ERROR "), 1) << "the others must not report that they lost a peer\n" << end.output;
}

TEST(JobEnd, ARankExitsOrIsKilled) {
  expect_quick_end(mpirun("2", "exit"), 3);
  expect_quick_end(mpirun("2", "kill"), 137);
  const auto silent = mpirun("2", "exit_zero");
  EXPECT_NE(silent.code, 0) << "a rank that leaves in the middle is not a success\n" << silent.output;
}

TEST(JobEnd, ARankDoesNotCome) {
  const auto end = mpirun("2", "late");  // the timeout is 2 s; the late rank would sleep for 60
  expect_quick_end(end, 5);
  EXPECT_NE(end.output.find("rank 0 of 2, ALLREDUCE (sum) of 1000 Float"), std::string::npos) << end.output;
  EXPECT_NE(end.output.find("no answer in time"), std::string::npos) << end.output;
}

TEST(JobEnd, RanksRunDifferentCollectives) {
  const auto operation = mpirun("2", "other");
  expect_quick_end(operation, 5);
  EXPECT_NE(operation.output.find("the ranks run different collectives: rank 0 ALLREDUCE (sum) of 1000 Float, its "
                                  "collective no. 4; rank 1 BARRIER"),
            std::string::npos)
      << operation.output;
}

TEST(JobEnd, MoreRanksAnnouncedThanStarted) {
  const auto alone = run_job({kRankProgram, "place", "cpu"}, {{"WORLD_SIZE", "2"}});
  EXPECT_EQ(alone.code, 2);
  EXPECT_NE(alone.output.find("mpirun -np 2"), std::string::npos) << alone.output;
  const auto slurm = mpirun("2", "place", "cpu", {{"SLURM_NTASKS", "4"}});
  EXPECT_EQ(slurm.code, 2) << slurm.output;
  EXPECT_EQ(occurrences(slurm.output, "ERROR SLURM_NTASKS=4"), 1) << slurm.output;
  // triptych launch starts as many as it was told to, and counts them itself.
  const auto launched = mpirun("2", "place", "cpu", {{"SLURM_NTASKS", "4"}, {"TRIPTYCH_CONTROL", "127.0.0.1:1"}});
  EXPECT_EQ(launched.code, 0) << launched.output;
  EXPECT_EQ(launched.output.find("mpirun 2 cpu|"), 0u) << launched.output;
}

TEST(JobEnd, DevicesWithoutAGpuForEveryRank) {
  // The variable hides GPUs on machines that have some.
  const std::map<std::string, std::string> none = {{"CUDA_VISIBLE_DEVICES", ""}};
  const auto automatic = mpirun("2", "place", "auto", none);
  EXPECT_EQ(automatic.code, 0);
  EXPECT_EQ(automatic.output.find("mpirun 2 cpu|device: auto takes the CPU: rank 0 on "), 0u) << automatic.output;
  const auto forced = mpirun("2", "place", "cuda", none);
  EXPECT_EQ(forced.code, 2);
  EXPECT_EQ(occurrences(forced.output, "ERROR device: cuda needs a GPU for every rank"), 1) << forced.output;
  const auto alone = run_job({kRankProgram, "place", "auto"}, none);
  EXPECT_EQ(alone.output.find("none 1 cpu|device: auto takes the CPU"), 0u) << alone.output;
  const auto torchrun = run_job({kRankProgram, "place", "auto"}, {{"CUDA_VISIBLE_DEVICES", ""},
                                                                  {"RANK", "0"},
                                                                  {"WORLD_SIZE", "2"},
                                                                  {"MASTER_ADDR", "127.0.0.1"},
                                                                  {"MASTER_PORT", "29999"}});
  EXPECT_EQ(torchrun.code, 2);
  EXPECT_NE(torchrun.output.find("on CPUs use `mpirun -np 2"), std::string::npos) << torchrun.output;
}

}  // namespace

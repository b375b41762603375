// One start with a stand-in for mpirun: what becomes of ranks that it leaves behind, and of processes that are none.
#include "distributed/launcher/attempt.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/atomic_file.h"
#include "distributed/launcher/control_link.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using std::chrono::milliseconds;

constexpr double kSoonGone = 60;  // s; a bound for a busy machine, not a speed

/// A process that only sleeps, stopped, with TRIPTYCH_CONTROL in its environment where `control` is not empty.
class Sleeper {
 public:
  explicit Sleeper(const std::string& control) : pid_(fork()) {
    if (pid_ != 0) {
      waitpid(pid_, nullptr, WUNTRACED);  // it stops itself
      return;
    }
    const auto variable = "TRIPTYCH_CONTROL=" + control;
    const char* const words[] = {"sh", "-c", "kill -STOP $$; exec sleep 1000", nullptr};
    const char* const environment[] = {"PATH=/usr/bin:/bin", control.empty() ? nullptr : variable.c_str(), nullptr};
    ::execve("/bin/sh", const_cast<char**>(words), const_cast<char**>(environment));
    ::_exit(127);
  }
  ~Sleeper() {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  pid_t pid() const { return pid_; }
  bool was_killed() const {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == pid_ && info.si_code == CLD_KILLED && info.si_status == SIGKILL;
  }

 private:
  pid_t pid_;
};

/// A job of one rank whose mpirun ends when it is told to.
struct OneRankJob {
  TempDir dir;
  boost::asio::io_context io;
  FileHandle null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  RankOutput output{io, Engine::kMpirun, {"localhost"}, null.get(), null.get()};
  std::string token = new_job_token();
  bool joined = false;
  std::optional<AttemptEnd> end;
  std::vector<std::string> faults;
  std::unique_ptr<Attempt> attempt;

  OneRankJob() {
    const auto path = dir.path().string();
    AttemptPlan plan;
    plan.command = {"/bin/sh", "-c",
                    "echo \"$TRIPTYCH_CONTROL\" > '" + path + "/told' && mv '" + path + "/told' '" + path +
                        "/address'; while [ ! -e '" + path + "/end' ]; do sleep 0.05; done"};
    plan.address = "127.0.0.1";
    plan.token = token;
    plan.rules.ranks = 1;
    attempt = std::make_unique<Attempt>(io, plan, output,
                                        AttemptEvents{.joined = [this](double) { joined = true; },
                                                      .step = [](const auto&) {},
                                                      .event = [](int, const auto&) {},
                                                      .finding =
                                                          [this](const Finding& finding, const auto&) {
                                                            if (finding.fatal) faults.push_back(finding.text);
                                                          },
                                                      .end = [this](const AttemptEnd& how) { end = how; }});
    run_until([&] { return std::filesystem::exists(dir / "address"); });
  }
  void run_until(const std::function<bool()>& done) {
    const auto start = Clock::now();
    while (!done() && seconds_since(start) < kSoonGone) io.run_for(milliseconds(5));
    EXPECT_TRUE(done());
  }
  std::string address() const {
    std::string text;
    std::ifstream(dir / "address") >> text;
    return text;
  }
  std::unique_ptr<ControlLink> link(pid_t pid) {
    auto made = std::make_unique<ControlLink>(options_of(pid), ControlHandlers{[] {}, [](int) {}});
    run_until([&] { return joined; });
    return made;
  }
  ControlLinkOptions options_of(pid_t pid) const {
    ControlLinkOptions options;
    options.address = address();
    options.token = token;
    options.identity = {0, 1, "localhost", pid, "program", "config"};
    return options;
  }
  void end_mpirun() {
    std::ofstream(dir / "end") << "now";
    run_until([&] { return end.has_value(); });
  }
};

/// A rank's link in a process of its own, which leaves when it is asked to. It says that it is process `pid`.
class LinkProcess {
 public:
  LinkProcess(OneRankJob& job, pid_t pid) : pid_(fork()) {
    if (pid_ == 0) {
      const ControlLink link(job.options_of(pid), {[] {}, [](int code) { ::_exit(code); }});
      for (;;) ::pause();
    }
    job.run_until([&] { return job.joined; });
  }
  ~LinkProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  LinkProcess(const LinkProcess&) = delete;
  LinkProcess& operator=(const LinkProcess&) = delete;
  /// -1 while it runs.
  int exit_code() {
    int status = 0;
    if (pid_ <= 0 || waitpid(pid_, &status, WNOHANG) != pid_) return code_;
    pid_ = -1;
    return code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
  }

 private:
  pid_t pid_;
  int code_ = -1;
};

TEST(Attempt, ARankThatOutlivesMpirunIsAskedToLeaveAndKilled) {
  OneRankJob job;
  const Sleeper rank(job.address());
  LinkProcess link(job, rank.pid());
  job.end_mpirun();
  job.run_until([&] { return rank.was_killed() && link.exit_code() >= 0; });
  EXPECT_EQ(link.exit_code(), 128 + SIGTERM);
}

TEST(Attempt, AProcessThatIsNoRankOfThisJobIsLeftAlone) {
  for (const char* control : {"", "127.0.0.1:1"}) {
    OneRankJob job;
    const Sleeper stranger(control);
    LinkProcess link(job, stranger.pid());
    job.attempt->kill();
    job.run_until([&] { return job.end.has_value() && link.exit_code() >= 0; });
    EXPECT_FALSE(stranger.was_killed()) << "with TRIPTYCH_CONTROL=" << control;
  }
}

TEST(Attempt, TheCauseIsInTheRanksOwnWords) {
  OneRankJob job;
  auto link = job.link(::getpid());
  link->event({ControlEvent::Kind::kNote, "step 9: the ranks no longer hold the same state", 0, 0});
  link->set_goodbye({.code = 5, .agreed = true});
  std::thread leaves([&] { link.reset(); });
  job.run_until([&] { return !job.faults.empty(); });
  leaves.join();
  EXPECT_EQ(job.faults[0],
            "all ranks end with code 5 for one reason (step 0, phase start): step 9: the ranks no longer hold the same "
            "state");
  job.end_mpirun();
  EXPECT_EQ(job.end->code, 5);
  EXPECT_EQ(job.end->host, "");
}

}  // namespace
}  // namespace triptych

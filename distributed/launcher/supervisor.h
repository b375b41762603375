// Keeps a job alive: starts it, is told how it ended, decides, starts it again, and leaves with the code of the cause.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/atomic_file.h"
#include "distributed/launcher/attempt.h"
#include "distributed/launcher/elastic.h"
#include "distributed/launcher/engine.h"
#include "distributed/launcher/goodput.h"
#include "distributed/launcher/host_check.h"
#include "distributed/launcher/hosts.h"
#include "distributed/launcher/journal.h"
#include "distributed/launcher/launch_view.h"
#include "distributed/launcher/monitor.h"
#include "distributed/launcher/rank_output.h"
#include "distributed/launcher/restart_policy.h"

namespace triptych {

struct LaunchPlan {
  std::string run, config, version;        ///< names for people
  std::string mode;                        ///< "local", "hosts" or "slurm"
  std::filesystem::path run_dir;           ///< absolute
  std::vector<std::string> program;        ///< triptych train ...
  std::vector<std::string> program_again;  ///< the same for a start after the first: goes on from its own checkpoint
  HostList hosts;
  int ranks = 1;
  std::optional<ElasticRange> elastic;
  RankDivisors divisors;
  Engine engine = Engine::kMpirun;
  JobShape shape;       ///< agent, binding, interface, variables; shares and program are filled in
  std::string address;  ///< of this machine, where ranks find the launcher
  HostCheck check;      ///< what hosts are asked: before the first start, and after they were lost
  RestartConfig restarts;
  WatchRules rules;  ///< without ranks
  /// The records of a step, for the log of a run that a step ends again and again; "" where they cannot be told.
  std::function<std::string(std::int64_t step)> records_of;
  std::optional<std::uint16_t> monitor;
};

/// How many ranks a start has, and where: with --elastic as many as the hosts that are not excluded hold. Throws
/// ConfigError.
std::vector<HostShare> shares_of(const LaunchPlan& plan, const std::set<std::string>& excluded);
/// The argument list of mpirun or srun.
std::vector<std::string> command_of(const LaunchPlan& plan, const std::vector<HostShare>& shares, bool again);
/// Of the newest checkpoint that looks complete in the run directory; nothing if there is none.
std::optional<std::int64_t> newest_step(const std::filesystem::path& run_dir);

/// Until a Supervisor takes them, SIGINT, SIGTERM, SIGHUP and SIGUSR1 end this process at once, with a word and
/// code 75: nothing is there to be saved. A SIGHUP that is ignored (nohup) stays ignored, then and later.
void leave_on_stop_signals();

class Supervisor {
 public:
  /// Opens the live view, makes the run's folder, takes RUN/launch.lock until it dies, opens the journal, takes SIGINT,
  /// SIGTERM, SIGUSR1 and SIGHUP, the last unless it is ignored. Throws StorageError; ConfigError where another
  /// launcher has the run.
  Supervisor(boost::asio::io_context& io, LaunchPlan plan);
  /// Runs the job to its end; the exit code.
  int run();

 private:
  std::unique_ptr<Monitor> open_monitor();
  void listen();
  void on_signal(int number);
  void leave_at_once(int number);
  void start();
  AttemptEvents events();
  void on_step(const ProgressBoard::View& view);
  void on_event(int rank, const ControlEvent& event);
  void on_finding(const Finding& finding, const ProgressBoard::View& view);
  void on_end(const AttemptEnd& end);
  bool can_run_without(const std::set<std::string>& hosts) const;
  bool is_failed_start(const AttemptEnd& end) const;
  void ask_lost_hosts(const Decision& decision);
  void wait_for_hosts(const Decision& decision, const std::set<std::string>& silent);
  void restart(const Decision& decision);
  void finish(int code, const std::string& cause);
  void say(const std::string& text);
  void note(const JournalEvent& event);

  boost::asio::io_context& io_;
  LaunchPlan plan_;
  std::unique_ptr<Monitor> monitor_;
  FileHandle lock_;        // before the journal: two launchers would write into one
  GoodputLedger goodput_;  // of what the journal held before, and holds since
  Journal journal_;
  RestartPolicy policy_;
  RankOutput output_;
  LaunchView view_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer backoff_;
  std::string token_;
  std::unique_ptr<Attempt> attempt_;
  std::set<std::string> excluded_;
  std::set<std::string> lost_hosts_;  // asked before each start until they answer
  std::unique_ptr<HostChecks> checks_;
  std::optional<Clock::time_point> waits_since_;  // hosts without which there is no start do not answer
  bool joined_ = false;                           // all ranks of this attempt were there
  std::int64_t number_ = -1;                      // of the attempt
  int stop_signal_ = 0, end_signals_ = 0;
  int leaving_ = 0;  // the second signal
  Clock::time_point last_step_line_{};
  std::int64_t last_noted_step_ = kUnknownStep;
  std::int64_t furthest_step_ = kUnknownStep;  ///< of all attempts
  bool repeats_ = false;                       ///< steps that an earlier attempt has done
  int code_ = 1;
};

}  // namespace triptych

// Whether a job that broke is started again, when, and on which hosts. Pure logic; the clock is the caller's.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace triptych {

struct RestartConfig {
  int max_restarts = 3;          ///< in the window; 0: never
  double window_s = 3600;        ///< what is older is forgotten
  double first_backoff_s = 0.5;  ///< after an attempt without a new step, then doubled; after one with: 0
  double max_backoff_s = 60;
  int same_step_failures = 3;  ///< failures of training in a row without a new step that end the job
  int host_faults = 2;         ///< in the window, that leave a host out
};

/// How an attempt ended. A stop that was asked for is none.
struct Failure {
  int code = 1;                  ///< exit code of the cause, or mpirun's where no cause is known; 128+n: signal
  bool rank_known_dead = false;  ///< the launcher saw a rank or a node go: mpirun's 1, 205 and 255 then mean that
  std::string text;              ///< what happened, for people: "rank 3 on node2 was killed by signal 9"
  std::string host;              ///< that caused it; "" where none is known
  bool trained = true;           ///< it was in its steps; a death on the way there says nothing about the step to come
};

struct Decision {
  bool restart = false;
  double after_s = 0;                 ///< backoff before the restart
  int code = 0;                       ///< exit code of a stop
  std::string text;                   ///< why, in one line
  std::vector<std::string> excluded;  ///< hosts to leave out, sorted
};

class RestartPolicy {
 public:
  /// Monotonic seconds.
  using Now = std::function<double()>;
  /// Whether enough slots remain without these hosts (spares, or an elastic number of ranks).
  using CanRunWithout = std::function<bool(const std::set<std::string>& hosts)>;
  /// Describes the samples at positions [first, first + count) of the run, for the log.
  using BatchText = std::function<std::string(std::int64_t first, std::int64_t count)>;

  /// `global_batch` and `batch_text` serve to name the samples of a step that keeps failing; 0 and none: not named.
  /// Throws ConfigError for a number out of range.
  RestartPolicy(RestartConfig config, Now now, std::int64_t global_batch = 0, BatchText batch_text = nullptr);

  /// `done` steps of the run are done: on every report. Only a number never seen before is progress.
  void step_done(std::int64_t done);
  /// Decides. Restarted are 5, 7 (once in the window), 128+n, and mpirun's 1, 205 and 255 if a rank is known to be
  /// dead; all others stop with their code (205 and 255 with 5: the job lost a peer).
  Decision failed(const Failure& failure, const CanRunWithout& can_run_without = nullptr);
  int restarts_in_window() const { return static_cast<int>(restarts_.size()); }

 private:
  void forget_old();
  Decision stop(const Failure& failure, const std::string& why) const;
  std::string why_never(const Failure& failure) const;
  std::string failing_batch() const;
  double next_backoff();
  std::vector<std::string> hosts_to_leave_out(const CanRunWithout& can_run_without, std::string& note) const;

  RestartConfig config_;
  Now now_;
  std::int64_t global_batch_;
  BatchText batch_text_;
  std::int64_t done_ = -1;  // most steps ever told; -1: none
  bool stepped_ = false;    // this attempt did a new step
  int failures_without_step_ = 0;
  int backoffs_ = 0;             // since the last good stretch
  std::deque<double> restarts_;  // times in the window
  std::deque<double> storage_restarts_;
  std::map<std::string, std::deque<double>> host_faults_;
};

}  // namespace triptych

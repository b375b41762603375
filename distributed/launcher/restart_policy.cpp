// The rules of restarting.
#include "distributed/launcher/restart_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

constexpr int kStorageCode = static_cast<int>(ExitCode::kStorage);
constexpr int kLostPeerCode = static_cast<int>(ExitCode::kLostPeer);

bool is_signal(int code) {
  return code > 128 && code <= 128 + 64;
}

/// What Open MPI returns when the cause has no code of its own: 205 and 255 for a lost or unreachable node.
bool is_of_mpirun(int code) {
  return code == 1 || code == 205 || code == 255;
}

void check_restarts(const char* name, double value, double least) {
  if (std::isfinite(value) && value >= least) return;
  throw ConfigError(std::string("restart policy: ") + name + " is " + number_text(value) + "; it must be at least " +
                    number_text(least));
}

void drop_older(std::deque<double>& times, double limit) {
  while (!times.empty() && times.front() <= limit) times.pop_front();
}

}  // namespace

RestartPolicy::RestartPolicy(RestartConfig config, Now now, std::int64_t global_batch, BatchText batch_text)
    : config_(config), now_(std::move(now)), global_batch_(global_batch), batch_text_(std::move(batch_text)) {
  check_restarts("--max-restarts", config_.max_restarts, 0);
  check_restarts("the window in seconds", config_.window_s, 1);
  check_restarts("the first backoff in seconds", config_.first_backoff_s, 0);
  check_restarts("the longest backoff in seconds", config_.max_backoff_s, config_.first_backoff_s);
  check_restarts("the number of failures of a step", config_.same_step_failures, 1);
  check_restarts("the number of faults of a host", config_.host_faults, 1);
}

void RestartPolicy::step_done(std::int64_t done) {
  if (done <= done_) return;
  // The first report of a job tells where it stands, be it the begin: that alone is no step of this launcher.
  const bool known = done_ >= 0 || done > 0;
  done_ = done;
  if (!known) return;
  failures_without_step_ = 0;
  stepped_ = true;
}

void RestartPolicy::forget_old() {
  const double limit = now_() - config_.window_s;
  drop_older(restarts_, limit);
  drop_older(storage_restarts_, limit);
  for (auto& [host, times] : host_faults_) drop_older(times, limit);
  std::erase_if(host_faults_, [](const auto& entry) { return entry.second.empty(); });
}

Decision RestartPolicy::failed(const Failure& failure, const CanRunWithout& can_run_without) {
  forget_old();
  if (!failure.host.empty()) host_faults_[failure.host].push_back(now_());
  if (failure.trained) ++failures_without_step_;
  if (const auto why = why_never(failure); !why.empty()) return stop(failure, why);
  if (failure.trained && failures_without_step_ >= config_.same_step_failures) {
    return stop(failure,
                "failed " + std::to_string(failures_without_step_) + " times without a new step" + failing_batch());
  }
  if (restarts_in_window() >= config_.max_restarts) {
    return stop(failure, "the " + std::to_string(config_.max_restarts) + " restarts allowed within " +
                             human_duration(config_.window_s) + " are used up (--max-restarts)");
  }
  if (failure.code == kStorageCode) storage_restarts_.push_back(now_());
  restarts_.push_back(now_());
  Decision decision;
  decision.restart = true;
  decision.after_s = next_backoff();
  std::string note;
  decision.excluded = hosts_to_leave_out(can_run_without, note);
  decision.text = failure.text + "; restart " + std::to_string(restarts_in_window()) + " of " +
                  std::to_string(config_.max_restarts) +
                  (decision.after_s > 0 ? " in " + human_duration(decision.after_s) : " at once") + note;
  stepped_ = false;
  return decision;
}

std::string RestartPolicy::why_never(const Failure& failure) const {
  if (config_.max_restarts == 0) return "restarts are off (--max-restarts 0)";
  const int code = failure.code;
  if (code == kStorageCode) {
    if (storage_restarts_.empty()) return "";
    return "the disk refused again after a restart; free space, or mend the file system";
  }
  if (code == kLostPeerCode || is_signal(code)) return "";
  if (is_of_mpirun(code) && failure.rank_known_dead) return "";
  if (code == static_cast<int>(ExitCode::kDone)) return "done";
  if (code == static_cast<int>(ExitCode::kPreempted)) return "stopped and saved: whoever stopped it starts it again";
  return "exit code " + std::to_string(code) + " is not restarted: it would come again";
}

Decision RestartPolicy::stop(const Failure& failure, const std::string& why) const {
  Decision decision;
  const bool node_lost = failure.rank_known_dead && (failure.code == 205 || failure.code == 255);
  decision.code = node_lost ? kLostPeerCode : failure.code;
  decision.text = (failure.text.empty() ? "" : failure.text + "; ") + why;
  return decision;
}

std::string RestartPolicy::failing_batch() const {
  if (global_batch_ <= 0 || done_ < 0) return "";
  const std::int64_t first = done_ * global_batch_;
  std::string text = "; step " + std::to_string(done_ + 1) + " takes the samples at positions [" +
                     std::to_string(first) + ", " + std::to_string(first + global_batch_) + ")";
  if (const auto records = batch_text_ ? batch_text_(first, global_batch_) : ""; !records.empty())
    text += ": " + records;
  return text;
}

double RestartPolicy::next_backoff() {
  if (stepped_) {  // it gets on: waiting would only cost time
    backoffs_ = 0;
    return 0;
  }
  const double wait = std::ldexp(config_.first_backoff_s, std::min(backoffs_, 60));
  ++backoffs_;
  return std::min(wait, config_.max_backoff_s);
}

std::vector<std::string> RestartPolicy::hosts_to_leave_out(const CanRunWithout& can_run_without,
                                                           std::string& note) const {
  std::set<std::string> hosts;
  for (const auto& [host, times] : host_faults_) {
    if (static_cast<int>(times.size()) >= config_.host_faults) hosts.insert(host);
  }
  if (hosts.empty()) return {};
  const std::vector<std::string> names(hosts.begin(), hosts.end());
  const bool can = can_run_without && can_run_without(hosts);
  note = can ? ", without " + join(names, ", ") : ", though " + join(names, ", ") + " broke it before: no spare slots";
  return can ? names : std::vector<std::string>{};
}

}  // namespace triptych

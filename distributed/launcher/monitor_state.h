// What the live view shows, and its two written forms: JSON for the page, text for Prometheus.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace triptych {

enum class RankState : int { kOk, kSlow, kSilent, kGone };
/// "ok", "slow", "silent", "gone".
const char* rank_state_name(RankState state);

struct MonitorRank {
  int rank = 0;
  std::string host, phase;
  std::int64_t step = 0;
  double samples_per_s = 0;
  double busy_share = 0;       ///< of the last step, computing; what is in neither share was waiting for other ranks
  double data_wait_share = 0;  ///< of the last step, waiting for records
  double report_age_s = 0;     ///< since the last report
  RankState state = RankState::kOk;
};

struct LossPoint {
  std::int64_t step = 0;
  double loss = 0;
};

/// The losses of a run in bounded memory: points a fixed number of steps apart, which doubles when they are too many.
class LossHistory {
 public:
  explicit LossHistory(std::size_t most = 600) : most_(most < 4 ? 4 : most) {}
  /// Points of steps not before `step` are dropped first: a restarted run does them again.
  void add(std::int64_t step, double loss);
  /// Ascending; the newest point is always among them.
  std::vector<LossPoint> points() const;

 private:
  std::size_t most_;
  std::int64_t stride_ = 1;
  std::vector<LossPoint> kept_;
  LossPoint newest_{-1, 0};
};

struct MonitorCheckpoint {
  std::int64_t step = 0;
  double seconds = 0;
};

struct MonitorEvent {
  std::string time, text;  ///< UTC as in the journal
};

struct MonitorState {
  std::string run, config;
  std::string started;             ///< of the launcher, UTC as in the journal
  std::string state = "starting";  ///< "starting", "training", "restarting", "stopping" or "ended"
  double uptime_s = 0;             ///< of the launcher
  std::int64_t attempt = 0, restarts = 0;
  std::int64_t step = 0, total = 0;
  double step_s = 0;  ///< a usual step: what the time that is left is reckoned from
  double samples_per_s = 0;
  std::vector<LossPoint> loss;
  std::vector<MonitorRank> ranks;
  std::vector<MonitorCheckpoint> checkpoints;                 ///< oldest first
  std::vector<MonitorEvent> events;                           ///< oldest first
  double goodput = std::numeric_limits<double>::quiet_NaN();  ///< so far; NaN: not known yet
};

/// One object; of checkpoints and events the newest 100. Numbers that are not finite are null.
std::string monitor_json(const MonitorState& state);
/// The text exposition format 0.0.4; names triptych_*. What is not known is left out.
std::string monitor_metrics(const MonitorState& state);

}  // namespace triptych

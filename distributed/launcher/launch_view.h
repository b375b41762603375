// What the live view is told while a job runs: collected here, because the view may be asked at any moment.
#pragma once
#include <deque>
#include <string>

#include "core/base/clock.h"
#include "distributed/launcher/monitor_state.h"
#include "distributed/launcher/watch.h"

namespace triptych {

class LaunchView {
 public:
  LaunchView(std::string run, std::string config);
  void set_state(const std::string& state) { state_.state = state; }
  void start(std::int64_t attempt);
  void step(const ProgressBoard::View& view);
  void checkpoint(std::int64_t step, double seconds);
  /// One line, with the time of now.
  void event(const std::string& text);
  /// All of it; `rates` of the attempt that runs, null between two.
  MonitorState state(const Rates* rates, double goodput) const;

 private:
  MonitorState state_;
  LossHistory loss_;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace triptych

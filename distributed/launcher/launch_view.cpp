#include "distributed/launcher/launch_view.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "distributed/launcher/journal.h"

namespace triptych {
namespace {

constexpr std::size_t kKept = 100;  // as many as the page shows

std::string utc_now() {
  return utc_text(std::chrono::system_clock::now());
}

template <class Items>
void keep_newest(Items& items) {
  if (items.size() > kKept) items.erase(items.begin());
}

RankState shown(RankRate::State state) {
  switch (state) {
    case RankRate::State::kSlow:
      return RankState::kSlow;
    case RankRate::State::kSilent:
      return RankState::kSilent;
    case RankRate::State::kGone:
    case RankRate::State::kAbsent:
      return RankState::kGone;
    default:
      return RankState::kOk;
  }
}

}  // namespace

LaunchView::LaunchView(std::string run, std::string config) {
  state_.run = std::move(run);
  state_.config = std::move(config);
  state_.started = utc_now();
}

void LaunchView::start(std::int64_t attempt) {
  state_.attempt = attempt;
  state_.restarts = attempt;
  state_.state = "starting";
}

void LaunchView::step(const ProgressBoard::View& view) {
  if (std::isfinite(view.loss)) loss_.add(view.step, view.loss);
  if (state_.state == "starting") state_.state = "training";
}

void LaunchView::checkpoint(std::int64_t step, double seconds) {
  state_.checkpoints.push_back({step, seconds});
  keep_newest(state_.checkpoints);
}

void LaunchView::event(const std::string& text) {
  state_.events.push_back({utc_now(), text});
  keep_newest(state_.events);
}

MonitorState LaunchView::state(const Rates* rates, double goodput) const {
  MonitorState state = state_;
  state.uptime_s = seconds_since(begin_);
  state.loss = loss_.points();
  state.goodput = goodput;
  if (rates == nullptr) return state;
  state.step = rates->step;
  state.total = rates->total;
  state.step_s = rates->median_step_s;
  state.samples_per_s = rates->samples_per_s;
  for (const auto& rank : rates->ranks) {
    state.ranks.push_back({.rank = rank.rank,
                           .host = rank.host,
                           .phase = phase_name(rank.view.phase),
                           .step = rank.view.step,
                           .samples_per_s = rank.view.samples_per_s,
                           .busy_share = rank.shares.busy,
                           .data_wait_share = rank.shares.data_wait,
                           .report_age_s = rank.since_report_s,
                           .state = shown(rank.state)});
  }
  return state;
}

}  // namespace triptych

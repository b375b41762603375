#include "distributed/launcher/pace.h"

#include <algorithm>

namespace triptych {

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

Pace::Sums Pace::of(const ProgressBoard::View& view) {
  return {static_cast<double>(view.steps_here), view.step_total_s, view.busy_total_s, view.data_wait_s};
}

bool Pace::add(const ProgressBoard::View& view) {
  const auto now = of(view);
  if (!begin_ || now.steps < begin_->steps) {  // the first report, or one of a new process
    begin_ = now;
    return false;
  }
  if (now.steps - begin_->steps < block_steps_) return false;
  older_ = newer_;
  newer_ = {now.steps - begin_->steps, now.step_s - begin_->step_s, now.busy_s - begin_->busy_s,
            now.data_wait_s - begin_->data_wait_s};
  begin_ = now;
  return true;
}

std::optional<std::array<double, 2>> Pace::busy_s() const {
  if (!older_) return std::nullopt;
  return std::array{older_->busy_s / older_->steps, newer_->busy_s / newer_->steps};
}

TimeShares Pace::shares() const {
  if (!newer_ || newer_->step_s <= 0) return {};
  const auto& last = *newer_;
  const double working = std::clamp(last.busy_s / last.step_s, 0.0, 1.0);
  const double data = std::clamp(last.data_wait_s / last.step_s, 0.0, working);  // it is a part of `busy_s`
  return {working - data, data, 1 - working};
}

}  // namespace triptych

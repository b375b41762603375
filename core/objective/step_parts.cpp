// Time is counted for the innermost part only.
#include "core/objective/step_parts.h"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

namespace triptych {

StepParts::Timed::Timed(StepParts* parts, const char* name) : parts_(parts), exceptions_(std::uncaught_exceptions()) {
  if (parts_ != nullptr) parts_->begin(name);
}

/// While an exception passes the device may be what failed: waiting for it again would end the program without a word.
StepParts::Timed::~Timed() noexcept(false) {
  if (parts_ != nullptr && std::uncaught_exceptions() == exceptions_) parts_->end();
}

void StepParts::begin(const char* name) {
  count();
  const auto at = std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.name == name; });
  running_.push_back(static_cast<std::size_t>(at - parts_.begin()));
  if (at == parts_.end()) parts_.push_back({name, 0});
}

void StepParts::end() {
  count();
  running_.pop_back();
}

void StepParts::count() {
  wait_();
  const auto now = Clock::now();
  if (!running_.empty()) parts_[running_.back()].seconds += std::chrono::duration<double>(now - since_).count();
  since_ = now;
}

std::vector<StepParts::Part> StepParts::take() {
  if (!running_.empty()) throw std::logic_error("StepParts: " + parts_[running_.back()].name + " is still running");
  return std::exchange(parts_, {});
}

}  // namespace triptych

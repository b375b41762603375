// Operators are reported by at::RecordFunction: one complete event ("ph": "X") each, with thread, start and length in
// us.
#include "core/train/step_profile.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <chrono>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/log.h"

namespace triptych {
namespace {

struct TraceEvent {
  std::string name;
  std::uint64_t thread = 0;
  bool backward = false;
  Clock::time_point begin, end;
};

std::mutex events_mutex;
std::vector<TraceEvent> events;

struct OpenEvent : at::ObserverContext {
  Clock::time_point begin = Clock::now();
};

std::unique_ptr<at::ObserverContext> on_begin(const at::RecordFunction&) {
  return std::make_unique<OpenEvent>();
}

void on_end(const at::RecordFunction& function, at::ObserverContext* context) {
  const auto begin = static_cast<OpenEvent*>(context)->begin;
  const auto end = Clock::now();
  const std::lock_guard lock(events_mutex);
  events.push_back(
      {function.name(), function.threadId(), function.scope() == at::RecordScope::BACKWARD_FUNCTION, begin, end});
}

}  // namespace

struct StepProfile::Impl {
  ProfileConfig config;
  std::filesystem::path file;
  Clock::time_point begin;
  at::CallbackHandle handle = at::INVALID_CALLBACK_HANDLE;

  bool tracing() const { return handle != at::INVALID_CALLBACK_HANDLE; }
  std::string range() const {
    return "steps " + std::to_string(config.steps[0]) + " to " + std::to_string(config.steps[1]);
  }
  void start();
  void stop();
  void write() const;
};

void StepProfile::Impl::start() {
  {
    const std::lock_guard lock(events_mutex);
    events.clear();
  }
  begin = Clock::now();
  handle = at::addGlobalCallback(at::RecordFunctionCallback(on_begin, on_end)
                                     .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

void StepProfile::Impl::stop() {
  if (tracing()) at::removeCallback(std::exchange(handle, at::INVALID_CALLBACK_HANDLE));
}

void StepProfile::Impl::write() const {
  const auto microseconds = [](Clock::duration length) {
    return std::chrono::duration<double, std::micro>(length).count();
  };
  nlohmann::json trace = {{"displayTimeUnit", "ms"}, {"traceEvents", nlohmann::json::array()}};
  const std::lock_guard lock(events_mutex);
  for (const auto& event : events) {
    trace["traceEvents"].push_back({{"ph", "X"},
                                    {"name", event.name},
                                    {"cat", event.backward ? "backward" : "operator"},
                                    {"pid", 0},
                                    {"tid", event.thread},
                                    {"ts", microseconds(event.begin - begin)},
                                    {"dur", microseconds(event.end - event.begin)}});
  }
  events.clear();
  std::ofstream out(file);
  out << trace.dump() << '\n';
  if (!out.flush()) throw StorageError("log.profile: cannot write the trace " + file.string());
}

StepProfile::StepProfile(const ProfileConfig& config, std::filesystem::path file) : impl_(std::make_unique<Impl>()) {
  impl_->config = config;
  impl_->file = std::move(file);
}

StepProfile::~StepProfile() {
  impl_->stop();
}

void StepProfile::warn_if_missed(std::int64_t steps_done, std::int64_t steps) const {
  if (impl_->config.steps[0] > steps) {
    log_warning("log.profile: " + impl_->range() + " will not be traced: the run ends after step " +
                std::to_string(steps));
  }
  if (steps_done < impl_->config.steps[0]) return;
  log_warning("log.profile: " + impl_->range() + " will not be traced: the run goes on after step " +
              std::to_string(steps_done));
}

void StepProfile::before_step(std::int64_t step) {
  if (step == impl_->config.steps[0]) impl_->start();
  if (step == impl_->config.steps[1] + 1) end();
}

void StepProfile::end() {
  if (!impl_->tracing()) return;
  impl_->stop();
  impl_->write();
  log_info("trace of " + impl_->range() + ": " + impl_->file.string());
}

}  // namespace triptych

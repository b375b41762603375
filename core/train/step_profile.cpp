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
#include <vector>

#include "core/base/errors.h"

namespace triptych {
namespace {

using Clock = std::chrono::steady_clock;

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
  std::filesystem::path file;
  int rank = 0;
  Clock::time_point begin = Clock::now();
  at::CallbackHandle handle = at::INVALID_CALLBACK_HANDLE;
};

StepProfile::StepProfile(std::filesystem::path file, int rank) : impl_(std::make_unique<Impl>()) {
  impl_->file = std::move(file);
  impl_->rank = rank;
  {
    const std::lock_guard lock(events_mutex);
    events.clear();
  }
  impl_->handle = at::addGlobalCallback(at::RecordFunctionCallback(on_begin, on_end)
                                            .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

StepProfile::~StepProfile() {
  try {
    stop();
  } catch (const std::exception&) {  // only while another error unwinds: that one is told
  }
}

void StepProfile::stop() {
  if (impl_->handle == at::INVALID_CALLBACK_HANDLE) return;
  at::removeCallback(impl_->handle);
  impl_->handle = at::INVALID_CALLBACK_HANDLE;
  const auto microseconds = [](Clock::duration length) {
    return std::chrono::duration<double, std::micro>(length).count();
  };
  nlohmann::json trace = {{"displayTimeUnit", "ms"}, {"traceEvents", nlohmann::json::array()}};
  const std::lock_guard lock(events_mutex);
  for (const auto& event : events) {
    trace["traceEvents"].push_back({{"ph", "X"},
                                    {"name", event.name},
                                    {"cat", event.backward ? "backward" : "operator"},
                                    {"pid", impl_->rank},
                                    {"tid", event.thread},
                                    {"ts", microseconds(event.begin - impl_->begin)},
                                    {"dur", microseconds(event.end - event.begin)}});
  }
  events.clear();
  std::ofstream out(impl_->file);
  out << trace.dump() << '\n';
  if (!out.flush()) throw StorageError("cannot write the trace " + impl_->file.string());
}

}  // namespace triptych

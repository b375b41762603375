// A ledger that walks through the journal and gives every second to one part.
#include "distributed/launcher/goodput.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/strings.h"

namespace triptych {
namespace {

/// Steps (from, to] that were trained in `seconds`.
struct Stretch {
  std::int64_t from = 0, to = 0;
  double seconds = 0;
};

class GoodputLedger {
 public:
  void add(const JournalLine& line) {
    if (report_.launchers == 0 || std::holds_alternative<LaunchEvent>(line.event) || line.uptime_s < now_) {
      next_launcher();
    }
    now_ = line.uptime_s;
    std::visit([this](const auto& event) { on(event); }, line.event);
  }

  GoodputReport close() {
    end_launcher();
    for (const auto& stretch : stretches_) report_.productive_s += stretch.seconds;
    if (detections_ > 0) report_.mean_detection_s = detection_sum_ / static_cast<double>(detections_);
    if (recoveries_ > 0) report_.mean_recovery_s = recovery_sum_ / static_cast<double>(recoveries_);
    return report_;
  }

 private:
  enum class State { kStarting, kTraining, kWaiting };

  void next_launcher() {
    end_launcher();
    ++report_.launchers;
    state_ = State::kStarting;
    mark_ = now_ = 0;
    broke_.clear();
    restart_from_ = kUnknownStep;
    report_.end_code.reset();
  }

  void end_launcher() {
    close_part(now_);
    report_.wall_s += now_;
    now_ = 0;
  }

  /// Gives the time since the mark to the part that the state says.
  void close_part(double until) {
    const double seconds = std::max(0.0, until - mark_);
    if (state_ == State::kTraining) {
      const double stall = std::min(stall_, seconds);
      report_.saving_s += stall;
      stretches_.push_back({from_, std::max(from_, step_), seconds - stall});
    } else {
      (state_ == State::kStarting ? report_.starting_s : report_.waiting_s) += seconds;
    }
    mark_ = std::max(mark_, until);
  }

  /// Training goes on after `step`: later ones will be done again.
  void go_back_to(std::int64_t step) {
    for (auto& stretch : stretches_) {
      const double steps = static_cast<double>(stretch.to - stretch.from);
      double share = steps > 0 ? static_cast<double>(stretch.to - step) / steps : 1.0;
      if (stretch.from >= step) share = 1;
      if (share <= 0) continue;
      report_.redone_s += stretch.seconds * share;
      stretch.seconds -= stretch.seconds * share;
      stretch.to = std::max(stretch.from, step);
    }
    std::erase_if(stretches_, [](const Stretch& stretch) { return stretch.to <= stretch.from; });
  }

  void on(const StartEvent& event) {
    close_part(now_);
    state_ = State::kStarting;
    stall_ = 0;
    ++report_.attempts;
    from_ = event.from_step != kUnknownStep ? event.from_step : restart_from_;
    restart_from_ = kUnknownStep;
    if (from_ != kUnknownStep) go_back_to(from_);
  }

  void on(const RestartEvent& event) { restart_from_ = event.from_step; }

  void on(const StepEvent& event) {
    if (state_ == State::kStarting) {
      if (from_ == kUnknownStep) go_back_to(from_ = std::max<std::int64_t>(0, event.step - 1));
      const double trained = event.step_s * static_cast<double>(std::max<std::int64_t>(0, event.step - from_));
      close_part(std::max(mark_, now_ - trained));
      state_ = State::kTraining;
      step_ = event.step;
      for (const double moment : broke_) recovery_sum_ += now_ - moment;
      recoveries_ += static_cast<std::int64_t>(broke_.size());
      broke_.clear();
    }
    told(event.step);
  }

  void on(const CheckpointEvent& event) {
    ++report_.checkpoints;
    if (state_ != State::kTraining) return;
    stall_ += event.stall_s;
    told(event.step);
  }

  void told(std::int64_t step) {
    step_ = std::max(step_, step);
    progress_ = now_;
    report_.last_step = std::max(report_.last_step, step);
  }

  void on(const FaultEvent& event) {
    ++report_.faults[event.kind];
    ++detections_;
    detection_sum_ += event.detection_s;
    if (state_ == State::kWaiting) return;  // the attempt is broken already
    const double earliest = state_ == State::kTraining ? std::max(mark_, progress_) : mark_;
    const double broke = std::clamp(now_ - event.detection_s, earliest, now_);
    if (state_ == State::kTraining && event.step != kUnknownStep) step_ = std::max(step_, event.step);
    close_part(broke);
    report_.detecting_s += now_ - broke;
    mark_ = now_;
    state_ = State::kWaiting;
    broke_.push_back(now_ - event.detection_s);
  }

  void on(const EndEvent& event) {
    close_part(now_);
    state_ = State::kWaiting;
    report_.end_code = event.code;
  }

  void on(const LaunchEvent&) {}
  void on(const JoinedEvent&) {}
  void on(const StopAskedEvent&) {}
  void on(const WarningEvent&) {}
  void on(const NoteEvent&) {}

  GoodputReport report_;
  State state_ = State::kStarting;
  double now_ = 0, mark_ = 0, progress_ = 0, stall_ = 0;  // uptimes of this launcher; mark: all before is given away
  std::int64_t from_ = kUnknownStep, step_ = 0;           // of this attempt: goes on after, has done
  std::int64_t restart_from_ = kUnknownStep;              // of the attempt to come
  std::vector<Stretch> stretches_;
  std::vector<double> broke_;  // faults without a step since
  double detection_sum_ = 0, recovery_sum_ = 0;
  std::int64_t detections_ = 0, recoveries_ = 0;
};

/// metrics.jsonl gives means over the steps since the line before.
void add_measured(const std::filesystem::path& path, GoodputReport& report) {
  std::ifstream file(path);
  std::int64_t before = 0;
  double step_s = 0, wait_s = 0;
  for (std::string text; std::getline(file, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("step") || !line.contains("step_s") || !line.contains("data_wait_s") ||
        !line["step"].is_number_integer() || !line["step_s"].is_number() || !line["data_wait_s"].is_number()) {
      continue;  // an evaluation, or a line that was cut off
    }
    const auto step = line["step"].get<std::int64_t>();
    const double steps = static_cast<double>(step - std::exchange(before, step));
    if (steps <= 0) continue;
    step_s += steps * line["step_s"].get<double>();
    wait_s += steps * line["data_wait_s"].get<double>();
    report.measured_step_s = step_s;
    report.measured_data_wait_s = wait_s;
  }
}

template <class Value>
nlohmann::ordered_json value_or_null(const std::optional<Value>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

std::string goodput_row(const char* name, double seconds, double wall_s) {
  char share[16], text[96];
  std::snprintf(share, sizeof(share), "%.1f %%", wall_s > 0 ? 100 * seconds / wall_s : 0.0);
  std::snprintf(text, sizeof(text), "  %-12s %16s %9s\n", name, human_duration(seconds).c_str(), share);
  return text;
}

std::string goodput_line(const std::string& name, const std::string& value) {
  return "  " + name + std::string(name.size() < 22 ? 22 - name.size() : 1, ' ') + value + "\n";
}

}  // namespace

GoodputReport goodput_of(const std::vector<JournalLine>& lines) {
  GoodputLedger ledger;
  for (const auto& line : lines) ledger.add(line);
  return ledger.close();
}

std::optional<GoodputReport> read_goodput(const std::filesystem::path& run_folder) {
  const auto path = run_folder / "launch.jsonl";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  const auto content = read_journal(path);
  auto report = goodput_of(content.lines);
  report.bad_lines = content.bad_lines;
  add_measured(run_folder / "metrics.jsonl", report);
  return report;
}

nlohmann::ordered_json goodput_json(const GoodputReport& report) {
  return {{"goodput", report.goodput()},
          {"wall_s", report.wall_s},
          {"productive_s", report.productive_s},
          {"redone_s", report.redone_s},
          {"detecting_s", report.detecting_s},
          {"waiting_s", report.waiting_s},
          {"starting_s", report.starting_s},
          {"saving_s", report.saving_s},
          {"launchers", report.launchers},
          {"attempts", report.attempts},
          {"checkpoints", report.checkpoints},
          {"last_step", report.last_step},
          {"mean_detection_s", value_or_null(report.mean_detection_s)},
          {"mean_recovery_s", value_or_null(report.mean_recovery_s)},
          {"measured_step_s", value_or_null(report.measured_step_s)},
          {"measured_data_wait_s", value_or_null(report.measured_data_wait_s)},
          {"end_code", value_or_null(report.end_code)},
          {"bad_lines", report.bad_lines},
          {"faults", report.faults}};
}

std::string goodput_table(const GoodputReport& report) {
  const std::pair<const char*, double> parts[] = {{"productive", report.productive_s},
                                                  {"redone", report.redone_s},
                                                  {"detecting", report.detecting_s},
                                                  {"waiting", report.waiting_s},
                                                  {"starting", report.starting_s},
                                                  {"saving", report.saving_s},
                                                  {"wall", report.wall_s}};
  std::string text = "goodput\n";
  for (const auto& [name, seconds] : parts) text += goodput_row(name, seconds, report.wall_s);
  text += goodput_line("attempts", human_count(report.attempts));
  for (const auto& [kind, count] : report.faults) text += goodput_line("faults: " + kind, human_count(count));
  if (report.mean_detection_s) text += goodput_line("mean time to detect", human_duration(*report.mean_detection_s));
  if (report.mean_recovery_s) text += goodput_line("mean time to a step", human_duration(*report.mean_recovery_s));
  if (report.bad_lines > 0) text += goodput_line("unreadable lines", human_count(report.bad_lines));
  return text;
}

}  // namespace triptych

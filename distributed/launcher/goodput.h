// Goodput: which part of a run's time went into steps that count. Reckoned from launch.jsonl.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "distributed/launcher/journal.h"

namespace triptych {

/// Times of one launcher are differences of its uptime_s, which is monotonic: setting a clock changes nothing. The
/// seven parts (productive ... saving) add up to the wall time. Times between two launchers of a run (a queue, a night)
/// are in none of them.
struct GoodputReport {
  /// Sum over launchers of the uptime of their last line.
  double wall_s = 0;
  /// Training time of the steps that count. An attempt trains from the begin of its first step (its first "step" event,
  /// less step_s for each step it tells of) until it broke (the "fault" event, less detection_s, but not before its
  /// last step or checkpoint), or until the "end" event or last line. Stalls of checkpoints are taken off. What
  /// remains, evaluations and waits for data included, is spread evenly over the steps done; the step that was cut off
  /// is in it.
  double productive_s = 0;
  /// The share of that time in steps done and then done again, because a later start goes on from before them.
  double redone_s = 0;
  /// From the moment a fault happened until the launcher knew: detection_s of the first fault of each attempt.
  double detecting_s = 0;
  /// From a fault (or an attempt's other end) to the next start or the end: cleaning up, backoff.
  double waiting_s = 0;
  /// From the launcher's begin or a start to the begin of the first step, or to what ended it before any step.
  double starting_s = 0;
  /// Training stood still for checkpoints: stall_s, at most the training time of their attempt.
  double saving_s = 0;

  std::int64_t launchers = 0;  ///< processes that wrote the journal
  std::int64_t attempts = 0;   ///< "start" events
  std::int64_t checkpoints = 0;
  std::int64_t last_step = 0;                  ///< the largest told
  std::map<std::string, std::int64_t> faults;  ///< by kind: every "fault" event
  /// Mean detection_s of all "fault" events.
  std::optional<double> mean_detection_s;
  /// Mean time from the first fault of an attempt (less detection_s) to the first "step" event after it, by the same
  /// launcher.
  std::optional<double> mean_recovery_s;
  /// By metrics.jsonl, where a run has it: sums over the steps that count of step_s and data_wait_s, the ranks' own
  /// measures. data_wait_s is a part of step_s.
  std::optional<double> measured_step_s, measured_data_wait_s;
  std::optional<std::int64_t> end_code;  ///< of the last launcher; absent: it was killed or still runs
  std::int64_t bad_lines = 0;

  /// productive / wall; 0 for an empty journal.
  double goodput() const { return wall_s > 0 ? productive_s / wall_s : 0; }
};

/// Walks through a journal, line by line, and gives every second to one part.
class GoodputLedger {
 public:
  void add(const JournalLine& line);
  GoodputReport report() const;  ///< up to the last line

 private:
  enum class State { kStarting, kTraining, kWaiting };
  /// Steps (from, to] that were trained in `seconds`.
  struct Stretch {
    std::int64_t from = 0, to = 0;
    double seconds = 0;
  };

  GoodputReport close();
  void next_launcher();
  void end_launcher();
  void close_part(double until);
  void go_back_to(std::int64_t step);
  void told(std::int64_t step);
  void on(const StartEvent& event);
  void on(const RestartEvent& event);
  void on(const StepEvent& event);
  void on(const CheckpointEvent& event);
  void on(const FaultEvent& event);
  void on(const EndEvent& event);
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

GoodputReport goodput_of(const std::vector<JournalLine>& lines);

/// Of a run's folder; nothing if it has no launch.jsonl: no launcher started it. Throws StorageError.
std::optional<GoodputReport> read_goodput(const std::filesystem::path& run_folder);

/// Plain values and one object ("faults"), seconds and shares as numbers; what is not known is null.
nlohmann::ordered_json goodput_json(const GoodputReport& report);
/// A table for people: seconds and share of the wall time of each part, then counts.
std::string goodput_table(const GoodputReport& report);

}  // namespace triptych

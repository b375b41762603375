// launch.jsonl: what a launcher did and saw, one JSON object a line. Each has "time" (UTC, ISO 8601 with ms),
// "uptime_s" (monotonic seconds since this launcher started) and "event"; then the fields of that event.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/json_lines.h"

namespace triptych {

/// A step that nobody knows.
inline constexpr std::int64_t kUnknownStep = -1;

/// Each event lists its fields once, for writing and for reading.
struct LaunchEvent {  ///< a launcher began; always the first line of its process
  static constexpr const char* kName = "launch";
  std::string run, config;
  std::string mode;     ///< "local", "hosts" or "slurm"
  std::string program;  ///< version
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("run", e.run), visit("config", e.config), visit("mode", e.mode), visit("program", e.program);
  }
};

struct StartEvent {  ///< mpirun or srun was started
  static constexpr const char* kName = "start";
  std::int64_t attempt = 0;  ///< from 0 in each launcher
  std::int64_t ranks = 0;
  std::vector<std::string> hosts;
  std::string command;                    ///< of printable_command
  std::int64_t from_step = kUnknownStep;  ///< of the checkpoint it goes on from; 0: from the beginning
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("attempt", e.attempt), visit("ranks", e.ranks), visit("hosts", e.hosts), visit("command", e.command);
    visit("from_step", e.from_step);
  }
};

struct JoinedEvent {  ///< all ranks are known
  static constexpr const char* kName = "joined";
  std::int64_t attempt = 0, ranks = 0;
  double seconds = 0;  ///< since the start
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("attempt", e.attempt), visit("ranks", e.ranks), visit("seconds", e.seconds);
  }
};

struct StepEvent {  ///< steps are done: the first report of an attempt, then as often as the launcher likes
  static constexpr const char* kName = "step";
  std::int64_t attempt = 0;
  std::int64_t step = 0, total = 0;  ///< done, and of the run
  double step_s = 0;                 ///< of the last step
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("attempt", e.attempt), visit("step", e.step), visit("total", e.total), visit("step_s", e.step_s);
  }
};

struct CheckpointEvent {  ///< a checkpoint is complete
  static constexpr const char* kName = "checkpoint";
  std::int64_t step = 0;
  double seconds = 0;  ///< from its begin until it was complete
  double stall_s = 0;  ///< how long training stood still for saves since the last such event
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("step", e.step), visit("seconds", e.seconds), visit("stall_s", e.stall_s);
  }
};

struct FaultEvent {  ///< something broke that ends the attempt
  static constexpr const char* kName = "fault";
  std::string kind;        ///< a word or two: "killed", "hang", "node lost"
  std::int64_t rank = -1;  ///< -1: not one rank
  std::string host;        ///< "" where unknown
  std::string phase;       ///< what the rank did, "" where unknown
  std::int64_t step = kUnknownStep;
  double detection_s = 0;  ///< from the moment it broke, as far as known, until this line
  std::string text;        ///< the one line that says what happened
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("kind", e.kind), visit("rank", e.rank), visit("host", e.host), visit("phase", e.phase);
    visit("step", e.step), visit("detection_s", e.detection_s), visit("text", e.text);
  }
};

struct RestartEvent {  ///< decided: the next start comes after `backoff_s`
  static constexpr const char* kName = "restart";
  std::int64_t attempt = 0;  ///< the one to come
  std::int64_t from_step = kUnknownStep;
  double backoff_s = 0;
  std::vector<std::string> hosts, excluded;
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("attempt", e.attempt), visit("from_step", e.from_step), visit("backoff_s", e.backoff_s);
    visit("hosts", e.hosts), visit("excluded", e.excluded);
  }
};

struct StopAskedEvent {
  static constexpr const char* kName = "stop_asked";
  std::string by;  ///< "SIGTERM", "SIGINT", ...
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("by", e.by);
  }
};

struct EndEvent {  ///< the launcher is about to leave
  static constexpr const char* kName = "end";
  std::int64_t code = 0;
  std::string cause;
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("code", e.code), visit("cause", e.cause);
  }
};

struct WarningEvent {
  static constexpr const char* kName = "warning";
  std::string text;
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("text", e.text);
  }
};

struct NoteEvent {  ///< what a rank said of its end, or of itself
  static constexpr const char* kName = "note";
  std::int64_t rank = -1;
  std::string text;
  template <class Self, class Visit>
  static void fields(Self& e, Visit&& visit) {
    visit("rank", e.rank), visit("text", e.text);
  }
};

using JournalEvent = std::variant<LaunchEvent, StartEvent, JoinedEvent, StepEvent, CheckpointEvent, FaultEvent,
                                  RestartEvent, StopAskedEvent, EndEvent, WarningEvent, NoteEvent>;

/// The clocks of a journal, so that a test may set them.
struct JournalClock {
  std::function<std::chrono::system_clock::time_point()> utc;
  std::function<double()> uptime_s;
  /// The system's; uptime counts from this call.
  static JournalClock of_system();
};

/// Appends events. Lines reach the system at once but are not synced: nothing here waits for a disk.
class Journal {
 public:
  /// Makes the file or goes on with it; a last line that a killed launcher left half written is cut off. Throws
  /// StorageError.
  explicit Journal(const std::filesystem::path& path, JournalClock clock = JournalClock::of_system());
  /// Never throws for a full disk: a job must not end because its diary does. The first line that is lost is said in
  /// the log, and the next that fits is followed by a warning with the number of lost ones.
  void write(const JournalEvent& event);

 private:
  bool append(const JournalEvent& event);

  JsonLines lines_;
  JournalClock clock_;
  std::int64_t lost_ = 0;
};

struct JournalLine {
  std::string time;
  double uptime_s = 0;
  JournalEvent event;
};

struct JournalContent {
  std::vector<JournalLine> lines;
  std::int64_t bad_lines = 0;  ///< without exactly the fields of a known event
  bool cut_off = false;        ///< the last line has no end and is left out: its launcher was killed
};

/// Throws StorageError if the file cannot be read.
JournalContent read_journal(const std::filesystem::path& path);

/// "2026-11-22T08:09:50.123Z"
std::string utc_text(std::chrono::system_clock::time_point time);

/// A command for people and journals: words quoted as a shell wants them; the value of TRIPTYCH_JOB_TOKEN=... is "***".
std::string printable_command(const std::vector<std::string>& words);

}  // namespace triptych

// What a rank is doing right now, on a board in its own memory: training code writes it, the control link reads it.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <string>

namespace triptych {

enum class Phase : int { kStart, kData, kStep, kEvaluate, kSave, kEnd };

/// "start", "data", "step", "evaluate", "save", "end".
const char* phase_name(Phase phase);

/// What a rank is doing, for whoever watches: written by the thread that trains, read by another. Never blocks: a call
/// costs some ten relaxed atomic stores, `beat` one. Other threads of the rank may write as well.
class ProgressBoard {
 public:
  /// The board of this process. Ranks that are threads share it: the last call counts.
  static ProgressBoard& of_process();
  ProgressBoard();

  void set_phase(Phase phase);
  /// Something moved: a record read, a batch evaluated, a file written.
  void beat();
  /// One optimizer update is complete, the `done`th of `total`. Seconds are those of the step; `busy_s` is `step_s`
  /// without the waits in collectives. `samples_per_s` is the whole job's; `loss` may be NaN.
  void step_done(std::int64_t done, std::int64_t total, double step_s, double busy_s, double samples_per_s,
                 double loss);
  /// The calling rank begins to wait in a collective. `operation` has static storage; `number` grows, the same on every
  /// rank for the same collective.
  void enter_collective(const char* operation, std::int64_t number);
  /// Leaves it, and adds the seconds since `enter_collective` to `waited_s`.
  void leave_collective();
  /// Adds seconds in which the training thread waited for its next batch.
  void data_waited(double seconds);
  /// Seconds in collectives since the process started.
  double waited_s() const;

  /// Everything at one moment.
  struct View {
    Phase phase = Phase::kStart;
    std::int64_t step = 0, total = 0;  ///< of the run
    std::int64_t beats = 0;            ///< since the process started
    std::int64_t collective = 0;       ///< the newest entered, left or not
    std::string operation;             ///< of that collective, empty before the first
    bool in_collective = false;
    double step_s = 0, busy_s = 0;  ///< of the newest step
    double samples_per_s = 0;       ///< of the whole job
    double loss = std::numeric_limits<double>::quiet_NaN();
    double data_wait_s = 0, waited_s = 0;          ///< since the process started
    std::int64_t steps_here = 0;                   ///< steps since the process started
    double step_total_s = 0, busy_total_s = 0;     ///< sums over those steps
    bool operator==(const View&) const = default;  ///< a NaN differs from itself
  };
  View view() const;

 private:
  /// What lies on the board; copied word by word.
  struct Fields {
    std::int64_t step = 0, total = 0, collective = 0, steps_here = 0;
    const char* operation = nullptr;
    std::int64_t entered_ns = 0;  ///< steady clock
    double step_s = 0, busy_s = 0, samples_per_s = 0, loss = std::numeric_limits<double>::quiet_NaN();
    double data_wait_s = 0, waited_s = 0, step_total_s = 0, busy_total_s = 0;
    std::int64_t phase = 0, in_collective = 0;
  };
  static constexpr std::size_t kWords = sizeof(Fields) / 8;
  using Words = std::array<std::uint64_t, kWords>;

  template <class Change>
  void change(Change&& change);
  Words load() const;
  void store(const Fields& fields);
  Fields read() const;

  std::atomic<std::uint64_t> sequence_{0};  // odd while one writes
  std::array<std::atomic<std::uint64_t>, kWords> words_;
  std::atomic<std::int64_t> beats_{0};
  static_assert(sizeof(Fields) % 8 == 0 && std::atomic<std::uint64_t>::is_always_lock_free);
};

}  // namespace triptych

// A sequence lock: readers never hold up a writer and take only copies during which nothing was written.
#include "distributed/launcher/progress.h"

#include <bit>
#include <chrono>
#include <thread>

namespace triptych {
namespace {

std::int64_t board_time_ns() {
  const auto since_epoch = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count();
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kStart:
      return "start";
    case Phase::kData:
      return "data";
    case Phase::kStep:
      return "step";
    case Phase::kEvaluate:
      return "evaluate";
    case Phase::kSave:
      return "save";
    case Phase::kEnd:
      return "end";
  }
  return "unknown";
}

ProgressBoard& ProgressBoard::of_process() {
  static ProgressBoard board;
  return board;
}

ProgressBoard::ProgressBoard() {
  store(Fields{});
}

ProgressBoard::Words ProgressBoard::load() const {
  Words words;
  for (std::size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_relaxed);
  return words;
}

void ProgressBoard::store(const Fields& fields) {
  const auto words = std::bit_cast<Words>(fields);
  for (std::size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_relaxed);
}

/// Writers take turns: an odd number is one at work, for a few stores only.
template <class Change>
void ProgressBoard::change(Change&& change) {
  auto number = sequence_.load(std::memory_order_relaxed);
  while (number % 2 != 0 || !sequence_.compare_exchange_weak(number, number + 1, std::memory_order_acquire)) {
    if (number % 2 != 0) std::this_thread::yield();
    number = sequence_.load(std::memory_order_relaxed);
  }
  std::atomic_thread_fence(std::memory_order_release);  // no store below becomes visible before the odd number
  auto fields = std::bit_cast<Fields>(load());
  change(fields);
  store(fields);
  sequence_.store(number + 2, std::memory_order_release);
}

ProgressBoard::Fields ProgressBoard::read() const {
  while (true) {
    const auto before = sequence_.load(std::memory_order_acquire);
    const auto words = load();
    std::atomic_thread_fence(std::memory_order_acquire);
    if (before % 2 == 0 && sequence_.load(std::memory_order_relaxed) == before) return std::bit_cast<Fields>(words);
    std::this_thread::yield();
  }
}

void ProgressBoard::set_phase(Phase phase) {
  change([&](Fields& fields) { fields.phase = static_cast<std::int64_t>(phase); });
}

void ProgressBoard::beat() {
  beats_.fetch_add(1, std::memory_order_relaxed);
}

void ProgressBoard::step_done(std::int64_t done, std::int64_t total, double step_s, double busy_s, double samples_per_s,
                              double loss) {
  change([&](Fields& fields) {
    fields.step = done;
    fields.total = total;
    fields.step_s = step_s;
    fields.busy_s = busy_s;
    fields.samples_per_s = samples_per_s;
    fields.loss = loss;
    fields.steps_here += 1;
    fields.step_total_s += step_s;
    fields.busy_total_s += busy_s;
  });
}

void ProgressBoard::enter_collective(const char* operation, std::int64_t number) {
  change([&](Fields& fields) {
    fields.operation = operation;
    fields.collective = number;
    fields.in_collective = 1;
    fields.entered_ns = board_time_ns();
  });
}

void ProgressBoard::leave_collective() {
  change([&](Fields& fields) {
    if (!fields.in_collective) return;
    fields.in_collective = 0;
    fields.waited_s += static_cast<double>(board_time_ns() - fields.entered_ns) * 1e-9;
  });
}

void ProgressBoard::data_waited(double seconds) {
  change([&](Fields& fields) { fields.data_wait_s += seconds; });
}

double ProgressBoard::waited_s() const {
  return read().waited_s;
}

ProgressBoard::View ProgressBoard::view() const {
  const auto fields = read();
  View view;
  view.phase = static_cast<Phase>(fields.phase);
  view.step = fields.step;
  view.total = fields.total;
  view.beats = beats_.load(std::memory_order_relaxed);
  view.collective = fields.collective;
  if (fields.operation) view.operation = fields.operation;
  view.in_collective = fields.in_collective != 0;
  view.step_s = fields.step_s;
  view.busy_s = fields.busy_s;
  view.samples_per_s = fields.samples_per_s;
  view.loss = fields.loss;
  view.data_wait_s = fields.data_wait_s;
  view.waited_s = fields.waited_s;
  view.steps_here = fields.steps_here;
  view.step_total_s = fields.step_total_s;
  view.busy_total_s = fields.busy_total_s;
  return view;
}

}  // namespace triptych

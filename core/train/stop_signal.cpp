// Handlers that only touch lock-free atomics: nothing else is allowed in a signal handler.
#include "core/train/stop_signal.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <mutex>

namespace triptych {
namespace {

constexpr std::array kSignals = {SIGUSR1, SIGTERM, SIGINT};
std::atomic<int> asked_by{0};
std::atomic<int> ends_asked{0};
static_assert(std::atomic<int>::is_always_lock_free);

std::mutex lives_mutex;
int lives = 0;
std::array<struct sigaction, kSignals.size()> previous;

void on_signal(int number) {
  if (number != SIGUSR1 && ends_asked.fetch_add(1) > 0) _exit(128 + number);
  asked_by.store(number);
}

}  // namespace

StopSignal::StopSignal() {
  const std::lock_guard lock(lives_mutex);
  if (lives++ > 0) return;
  asked_by = 0;
  ends_asked = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &previous[i]);
}

StopSignal::~StopSignal() {
  const std::lock_guard lock(lives_mutex);
  if (--lives > 0) return;
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous[i], nullptr);
}

int StopSignal::asked() const {
  return asked_by.load();
}

}  // namespace triptych

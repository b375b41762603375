// Says the first cause once, then ends the job.
#include "apps/failure.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

#include "core/base/errors.h"
#include "core/base/log.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

/// Ranks that fail alike fail within this time of each other. Whoever should not speak waits so long: the speaker's
/// exit ends the job first.
constexpr auto kSpeakersLead = std::chrono::milliseconds(1500);

std::string host() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown host";
}

std::string message(const std::exception& error) {
  // LibTorch's own message carries a stack of addresses that helps nobody on a terminal.
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) return torch->what_without_backtrace();
  return error.what();
}

}  // namespace

void end_with(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  const int code = ours != nullptr ? static_cast<int>(ours->code()) : 1;
  const int rank = environment_rank();
  end_progress();
  if (rank > 0) {
    std::this_thread::sleep_for(kSpeakersLead);
    if (ours != nullptr && ours->agreed()) abort_job(code);
  }
  std::string line = "error: ";
  if (rank >= 0 && (ours == nullptr || !ours->agreed())) {
    line = "error on rank " + std::to_string(rank) + " (" + host() + "): ";
  }
  log_error(line + message(error));
  abort_job(code);
}

}  // namespace triptych

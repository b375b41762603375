// Says the first cause once, then ends the job.
#include "apps/failure.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "core/base/errors.h"
#include "core/base/log.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

// Ranks that fail alike fail within some time of each other; the first process that ends takes the job with it. So
// those that have nothing to add let rank 0 speak and end the job, and any other rank gives rank 0, which may have met
// the same, a short lead. Whoever is alive after its wait is the only one that met the error, and speaks.
constexpr auto kSilentWait = std::chrono::milliseconds(3000);
constexpr auto kLead = std::chrono::milliseconds(700);

std::string host() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown host";
}

std::string message(const std::exception& error) {
  // LibTorch's own message carries a stack of addresses that helps nobody on a terminal.
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) return torch->what_without_backtrace();
  return error.what();
}

/// Of the processor's memory or a GPU's.
bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  // No room for the stack of a thread.
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system != nullptr && system->code() == std::errc::resource_unavailable_try_again) return true;
  // LibTorch has no type for the processor's.
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch != nullptr && torch->msg().find("DefaultCPUAllocator: can't allocate memory") != std::string::npos;
}

/// -1 without a launcher, or when its variables make no sense (which may be the very error that is reported).
int rank_for_speaking() {
  try {
    return environment_rank();
  } catch (const Error&) {
    return -1;
  }
}

}  // namespace

void end_with(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  const bool memory = is_out_of_memory(error);
  const int code = memory ? static_cast<int>(ExitCode::kUsage) : ours != nullptr ? static_cast<int>(ours->code()) : 1;
  const int rank = rank_for_speaking();
  end_progress();
  const bool agreed = ours != nullptr && ours->agreed();
  if (rank > 0) std::this_thread::sleep_for(agreed ? kSilentWait : kLead);
  const auto who =
      rank > 0 || (rank == 0 && !agreed) ? "rank " + std::to_string(rank) + " on " + host() + ": " : std::string();
  log_error(
      who +
      (memory ? "out of memory; lower train.micro_batch, data.prefetch or the model (--dry-run estimates): " : "") +
      message(error));
  abort_job(code);
}

}  // namespace triptych

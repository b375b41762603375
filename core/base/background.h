// Threads that work beside a step, on the same cores where there are no others.
#pragma once
#include <sys/resource.h>
#include <unistd.h>

namespace triptych {

/// The calling thread goes on with what its core has left: the step that runs meanwhile comes first.
inline void work_in_background() {
  const auto thread = static_cast<id_t>(::gettid());  // on Linux, threads have priorities of their own
  constexpr int kNicer = 4;
  (void)::setpriority(PRIO_PROCESS, thread, ::getpriority(PRIO_PROCESS, thread) + kNicer);
}

}  // namespace triptych

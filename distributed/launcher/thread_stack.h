// The stacks of threads of this process that asked to be shown when the job hangs, and the state of a process.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace triptych {

/// While it lives, the thread that made it is shown by `watched_stacks` under `name`. May be destroyed by another
/// thread, but before the watched thread ends.
class WatchedThread {
 public:
  /// Throws std::system_error if the signal that asks for stacks cannot be taken.
  explicit WatchedThread(std::string name);
  ~WatchedThread();
  WatchedThread(const WatchedThread&) = delete;
  WatchedThread& operator=(const WatchedThread&) = delete;

 private:
  int id_ = 0;
};

/// The stack of thread `tid` of this process, innermost first: "#3 triptych::Trainer::step(...)+0x1a
/// (triptych+0x52f3a)". The name is that of the nearest exported function, absent where there is none. The thread is
/// interrupted by a real-time signal (as any signal does, it ends a poll or a sleep early) and has 1 s to answer; else
/// the one line says "did not answer". One stack is taken at a time. Throws std::system_error as WatchedThread does.
std::vector<std::string> thread_stack(pid_t tid);

/// "thread main (R): ..." of every watched thread, as lines. Empty if none is watched.
std::string watched_stacks();

/// Letter of /proc/PID/stat: R runs, S sleeps, D waits for a disk, T is stopped by a signal, t by a debugger, Z is dead
/// and not yet reaped. Nothing if there is no such process.
std::optional<char> process_state(pid_t pid);
/// The same of a thread of this process.
std::optional<char> thread_state(pid_t tid);

}  // namespace triptych

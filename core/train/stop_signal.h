// SIGUSR1, SIGTERM and SIGINT ask a run to save and stop at the next step boundary.
#pragma once

namespace triptych {

/// While one lives, the three signals only raise a flag; a second SIGTERM or SIGINT ends the process at once (128 +
/// signal). Several may live at a time (ranks as threads); the flag is the process's.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  /// The number of the signal that asked, 0 if none did.
  int asked() const;
};

}  // namespace triptych

// A rank's end of the control channel: a thread that tells the launcher what the ProgressBoard says and does what the
// launcher asks.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "distributed/launcher/control_message.h"
#include "distributed/launcher/progress.h"

namespace triptych {

struct ControlHandlers {
  /// The launcher asks to save and stop at the next step boundary. Called in the link's thread.
  std::function<void()> stop;
  /// The process must end with this code: 5 the launcher is gone, 2 it refuses this rank for good. Called in the link's
  /// thread, after one warning in the log; the link is over then.
  std::function<void(int code)> end;
};

struct ControlLinkOptions {
  std::string address;  ///< "host:port" of the launcher
  std::string token;    ///< of the job; never appears in a text
  RankIdentity identity;
  const ProgressBoard* board = &ProgressBoard::of_process();
  double start_s = 30;  ///< how long the launcher may not be there at the start
  double lost_s = 10;   ///< and later
};

/// Signals are blocked in the thread; its socket is close-on-exec. All calls may come from any thread and never wait
/// for the network, but for the destructor (1 s at most, plus a name that is just being resolved).
class ControlLink {
 public:
  /// By TRIPTYCH_CONTROL and TRIPTYCH_JOB_TOKEN; null, and no thread, without TRIPTYCH_CONTROL. Throws as the
  /// constructor.
  static std::unique_ptr<ControlLink> from_environment(RankIdentity identity, ControlHandlers handlers);
  /// The thread that makes it is the one whose stack the launcher sees as "main". Throws ConfigError: address or token
  /// cannot be read, or a handler is missing.
  ControlLink(ControlLinkOptions options, ControlHandlers handlers);
  ~ControlLink();
  ControlLink(const ControlLink&) = delete;
  ControlLink& operator=(const ControlLink&) = delete;

  /// The launcher should be told now that a phase begins, not at the next look at the board.
  void report_now() const;
  /// Something the launcher should know. Without a connection the newest 256 wait for one.
  void event(ControlEvent event);
  /// The destructor says this goodbye; without this call the launcher takes the rank for dead.
  void set_goodbye(const Goodbye& goodbye);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych

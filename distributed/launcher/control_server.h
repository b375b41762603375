// The launcher's end of the control channel: ranks join, report and are found to be gone. Strangers cost a bounded
// number of descriptors and bytes, and nothing else.
#pragma once
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/clock.h"
#include "distributed/launcher/control_message.h"
#include "distributed/launcher/progress.h"

namespace triptych {

/// How the connection of a rank that had joined ended.
struct LinkEnd {
  enum class Kind {
    kGoodbye,   ///< the rank said so; `code` is its exit code
    kClosed,    ///< its process is gone: closed without a goodbye, or reset
    kTimedOut,  ///< its system does not answer: the link is cut or the machine is down
    kBadLine,   ///< closed here because of a line that is not the rank's; the rank comes back
  };
  Kind kind = Kind::kClosed;
  int code = 0;
  bool agreed = false;  ///< this and the next: of the goodbye
  int culprit = -1;
};

/// All are called from the io_context. Empty ones are not called.
struct ControlCallbacks {
  std::function<void(const RankIdentity&)> on_join;
  std::function<void(int rank, const ProgressBoard::View&, Clock::time_point now)> on_report;
  std::function<void(int rank, const ControlEvent&)> on_event;
  std::function<void(int rank, const std::string& stacks)> on_stack;
  std::function<void(int rank, const LinkEnd&)> on_gone;
  /// A rank with the right token may not join: a second one of its number, of another job size, program or
  /// configuration. `final`: it will not try again.
  std::function<void(const RankIdentity&, const std::string& why, bool final)> on_refused;
};

struct ControlServerOptions {
  std::string address = "127.0.0.1";  ///< of the interface, a number; the port is a free one
  int ranks = 1;
  std::string token;  ///< of the job (new_job_token)
  Clock::duration join_within{std::chrono::seconds(2)};
};

/// What was turned away since the start.
struct ControlCounts {
  std::int64_t accepted = 0;     ///< connections
  std::int64_t crowded_out = 0;  ///< not joined yet, and closed for a newer one: there are at most ranks + 64
  std::int64_t too_slow = 0;     ///< did not join in time
  std::int64_t bad_lines = 0;    ///< forged, replayed, malformed or too long; each ended its connection
  std::int64_t refused = 0;      ///< see on_refused
};

/// Must be destroyed before the io_context, from the thread that runs it; then every connection is closed and nothing
/// is called any more.
class ControlServer {
 public:
  /// Listens. Throws ConfigError: the address is no number or not of this machine, or the token cannot be read.
  ControlServer(boost::asio::io_context& io, ControlServerOptions options, ControlCallbacks callbacks);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// "127.0.0.1:41213": what ranks need as TRIPTYCH_CONTROL.
  std::string address() const;
  int connections() const;  ///< now
  int joined() const;       ///< ranks now connected
  ControlCounts counts() const;

  /// False: the rank has no connection, or has left more than 64 requests unread.
  bool ask_stack(int rank);
  /// To every rank that is connected; their number.
  int ask_stop();
  int ask_leave();

 private:
  struct Impl;
  struct Session;
  std::shared_ptr<Impl> impl_;
};

}  // namespace triptych

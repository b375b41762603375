#include "distributed/launcher/control_link.h"

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "distributed/launcher/control_socket.h"
#include "distributed/launcher/thread_stack.h"

namespace triptych {
namespace {

using std::chrono::milliseconds;

constexpr auto kReportEvery = milliseconds(1000);
constexpr auto kReportStepEvery = milliseconds(250);
constexpr auto kLookEvery = milliseconds(100);  // at the board
constexpr auto kJoinWithin = milliseconds(5000);
constexpr auto kGoodbyeWithin = milliseconds(1000);
constexpr std::size_t kQueuedEvents = 256;
constexpr std::size_t kUnsentBytes = 64 << 10;  // a report that finds more of them waiting is left out
constexpr std::size_t kStackPiece = 1000;
constexpr std::size_t kStackBytes = 48 << 10;

/// Ends one connection; the link may make another.
struct LinkBroken : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Ends the link.
struct LinkOver {
  int code;
  std::string why;
};

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct HostPort {
  std::string host, port;
};

HostPort host_port(const std::string& address) {
  const auto colon = address.rfind(':');
  int port = 0;
  if (colon != std::string::npos && colon > 0) {
    const auto* end = address.data() + address.size();
    const auto [stop, error] = std::from_chars(address.data() + colon + 1, end, port);
    if (error != std::errc() || stop != end) port = 0;
  }
  if (port < 1 || port > 65535) {
    throw ConfigError("TRIPTYCH_CONTROL='" + address +
                      "' is not host:port; triptych launch sets it, unset it to run without a launcher");
  }
  return {address.substr(0, colon), address.substr(colon + 1)};
}

std::string error_text(int error_number) {
  return std::generic_category().message(error_number);
}

/// A connection that is being made.
Descriptor start_connecting(const addrinfo& address) {
  Descriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) throw LinkBroken("no socket: " + error_text(errno));
  watch_link(socket.get());
  if (connect(socket.get(), address.ai_addr, address.ai_addrlen) != 0 && errno != EINPROGRESS) {
    throw LinkBroken("cannot connect: " + error_text(errno));
  }
  return socket;
}

/// Text cut at line ends where it can be.
std::vector<std::string> pieces_of(std::string text) {
  text.resize(std::min(text.size(), kStackBytes));
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < text.size();) {
    auto size = std::min(kStackPiece, text.size() - at);
    const auto newline = text.rfind('\n', at + size - 1);
    if (at + size < text.size() && newline != std::string::npos && newline >= at) size = newline + 1 - at;
    pieces.push_back(text.substr(at, size));
    at += size;
  }
  if (pieces.empty()) pieces.push_back("no thread of this rank is watched\n");
  return pieces;
}

}  // namespace

struct ControlLink::Impl {
  const ControlLinkOptions options;
  const ControlHandlers handlers;
  const HostPort launcher;
  const ControlKey job;
  WatchedThread main_thread{"main"};
  Descriptor wake{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::atomic<bool> stopping{false};
  std::mutex mutex;  // what follows
  std::deque<ControlEvent> events;
  std::optional<Goodbye> goodbye;

  // Of the link's thread alone, one connection at a time.
  Descriptor socket;
  ControlLines lines;
  std::string unsent;
  std::optional<ControlWriter> writer;
  std::optional<ControlReader> reader;
  Clock::time_point reported{};
  std::int64_t reported_step = -1;
  Phase reported_phase = Phase::kStart;
  std::thread thread;

  Impl(ControlLinkOptions the_options, ControlHandlers the_handlers)
      : options(std::move(the_options)),
        handlers(std::move(the_handlers)),
        launcher(host_port(options.address)),
        job(parse_job_token(options.token)) {
    if (!handlers.stop || !handlers.end) throw std::invalid_argument("ControlLink: both handlers are needed");
    if (wake.get() < 0) throw std::system_error(errno, std::generic_category(), "control link: eventfd");
  }

  void start();
  void wake_up() const;
  void run();
  void stay_connected();
  void connect_once(Clock::time_point until);
  void connect_to_any(Clock::time_point until);
  void join(Clock::time_point until);
  void talk();
  void say_goodbye();
  void report_if_due();
  void send_events();
  void obey(const LauncherMessage& message);
  void send_stacks();

  short wait(short events_wanted, Clock::time_point until);
  bool receive();
  void flush();
  std::string await_line(Clock::time_point until);
};

void ControlLink::Impl::start() {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // the new thread inherits it
  thread = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ControlLink::Impl::wake_up() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake.get(), &one, sizeof one);  // full: it is awake already
}

void ControlLink::Impl::run() {
  try {
    stay_connected();
  } catch (const LinkOver& over) {
    log_warning("launcher at " + options.address + ": " + over.why + "; this rank ends with code " +
                std::to_string(over.code));
    socket = Descriptor();
    handlers.end(over.code);
  }
}

/// Until the link is stopped: connect, talk, and connect again when the connection breaks.
void ControlLink::Impl::stay_connected() {
  auto limit_s = options.start_s;
  while (!stopping) {
    const auto since = Clock::now();
    const auto until = since + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit_s));
    auto pause = milliseconds(50);
    while (!writer && !stopping) {
      try {
        connect_once(until);
      } catch (const std::runtime_error& broken) {
        writer.reset();
        if (Clock::now() + pause >= until) {
          throw LinkOver{static_cast<int>(ExitCode::kLostPeer),
                         "not reached within " + human_duration(seconds_since(since)) + " (" + broken.what() + ")"};
        }
        socket = Descriptor();
        wait(0, Clock::now() + pause);
        pause = std::min(2 * pause, milliseconds(1000));
      }
    }
    try {
      if (writer) talk();
      if (writer && stopping) say_goodbye();
    } catch (const std::runtime_error&) {  // the attempts to come back say what is wrong
    }
    writer.reset();
    limit_s = options.lost_s;
  }
}

void ControlLink::Impl::connect_once(Clock::time_point until) {
  lines = ControlLines();
  unsent.clear();
  connect_to_any(until);
  join(std::min<Clock::time_point>(until, Clock::now() + kJoinWithin));
  reported = {};
}

void ControlLink::Impl::connect_to_any(Clock::time_point until) {
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int failed = getaddrinfo(launcher.host.c_str(), launcher.port.c_str(), &hints, &found);
  if (failed != 0) throw LinkBroken(launcher.host + " does not resolve: " + gai_strerror(failed));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);
  std::string why = "no address";
  for (const auto* address = found; address && !stopping; address = address->ai_next) {
    try {
      socket = start_connecting(*address);
      const auto give_up = std::min<Clock::time_point>(until, Clock::now() + kJoinWithin);
      while (!wait(POLLOUT, give_up)) {
        if (stopping || Clock::now() >= give_up) throw LinkBroken("no answer");
      }
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error == 0) return;
      why = error_text(error);
    } catch (const LinkBroken& broken) {
      why = broken.what();
    }
  }
  throw LinkBroken(why);
}

void ControlLink::Impl::join(Clock::time_point until) {
  const auto launcher_nonce = read_hello(await_line(until));
  const auto own_nonce = new_nonce();
  const auto keys = ControlKeys::of(job, launcher_nonce, own_nonce);
  unsent = join_line(job, launcher_nonce, own_nonce, options.identity);
  flush();
  ControlReader answers(keys.to_rank);
  const auto answer = answers.launcher_message(await_line(until));
  if (const auto* refusal = std::get_if<Refusal>(&answer)) {
    if (refusal->final) throw LinkOver{static_cast<int>(ExitCode::kUsage), refusal->text};
    throw LinkBroken(refusal->text);
  }
  if (!std::holds_alternative<Welcome>(answer)) throw LinkBroken("no welcome");
  reader.emplace(answers);
  writer.emplace(keys.to_launcher);
}

/// Until the link is stopped or the connection breaks.
void ControlLink::Impl::talk() {
  while (!stopping) {
    while (const auto line = lines.next())
      obey(reader->launcher_message(*line));  // the first may come with the welcome
    report_if_due();
    send_events();
    flush();
    const auto ready = wait(unsent.empty() ? POLLIN : POLLIN | POLLOUT, Clock::now() + kLookEvery);
    if (ready & (POLLIN | POLLHUP | POLLERR) && !receive()) throw LinkBroken("the connection was closed");
  }
}

void ControlLink::Impl::report_if_due() {
  const auto now = Clock::now();
  auto view = options.board->view();
  const bool step = view.steps_here != reported_step && now - reported >= kReportStepEvery;
  const bool begun = (reported_phase == Phase::kStart && view.phase != Phase::kStart) ||
                     (reported_step == 0 && view.steps_here > 0);  // the launcher waits for it
  if ((!step && !begun && now - reported < kReportEvery) || unsent.size() > kUnsentBytes) return;
  reported = now;
  reported_step = view.steps_here;
  reported_phase = view.phase;
  unsent += writer->line(std::move(view));
}

void ControlLink::Impl::send_events() {
  const std::lock_guard lock(mutex);
  for (; !events.empty() && unsent.size() <= kUnsentBytes; events.pop_front()) unsent += writer->line(events.front());
}

void ControlLink::Impl::obey(const LauncherMessage& message) {
  if (std::holds_alternative<AskStop>(message)) handlers.stop();
  if (std::holds_alternative<AskStack>(message)) send_stacks();
  if (std::holds_alternative<AskLeave>(message)) _exit(128 + SIGTERM);
}

void ControlLink::Impl::send_stacks() {
  const auto pieces = pieces_of(watched_stacks());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    unsent += writer->line(StackPiece{pieces[i], i + 1 == pieces.size()});
  }
}

/// What is still to be said, the goodbye last; then waits until the launcher has read it: closing earlier could take it
/// back.
void ControlLink::Impl::say_goodbye() {
  const auto until = Clock::now() + kGoodbyeWithin;
  unsent += writer->line(options.board->view());
  send_events();
  {
    const std::lock_guard lock(mutex);
    if (!goodbye) return;
    unsent += writer->line(*goodbye);
  }
  while (!unsent.empty() && Clock::now() < until) {
    flush();
    if (!unsent.empty() && !wait(POLLOUT, until)) return;
  }
  shutdown(socket.get(), SHUT_WR);
  while (Clock::now() < until && wait(POLLIN, until) && receive()) {
    while (lines.next()) {  // what is asked now comes too late
    }
  }
}

/// The socket's readiness among `events_wanted`, 0 when the time is up or somebody woke the thread.
short ControlLink::Impl::wait(short events_wanted, Clock::time_point until) {
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  pollfd both[2] = {{wake.get(), POLLIN, 0}, {socket.get(), events_wanted, 0}};
  if (poll(both, events_wanted ? 2 : 1, static_cast<int>(std::max<std::int64_t>(left, 0))) <= 0) return 0;
  std::uint64_t count = 0;
  if (both[0].revents) [[maybe_unused]]
    const auto got = read(wake.get(), &count, sizeof count);
  return events_wanted ? both[1].revents : static_cast<short>(0);
}

/// False: the launcher closed the connection.
bool ControlLink::Impl::receive() {
  const auto room = lines.room();
  if (room.empty()) throw LinkBroken("a line of the launcher is too long");
  const auto got = recv(socket.get(), room.data(), room.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (got < 0) throw LinkBroken(error_text(errno));
  lines.filled(static_cast<std::size_t>(got));
  return got > 0;
}

void ControlLink::Impl::flush() {
  while (!unsent.empty()) {
    const auto sent = send(socket.get(), unsent.data(), unsent.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) throw LinkBroken(error_text(errno));
    unsent.erase(0, static_cast<std::size_t>(sent));
  }
}

std::string ControlLink::Impl::await_line(Clock::time_point until) {
  while (!stopping) {
    if (const auto line = lines.next()) return std::string(*line);
    if (Clock::now() >= until) throw LinkBroken("no answer");
    if (wait(POLLIN, until) && !receive()) throw LinkBroken("closed while joining: another job's token?");
  }
  throw LinkBroken("stopped");
}

std::unique_ptr<ControlLink> ControlLink::from_environment(RankIdentity identity, ControlHandlers handlers) {
  const char* address = std::getenv("TRIPTYCH_CONTROL");
  if (!address) return nullptr;
  const char* token = std::getenv("TRIPTYCH_JOB_TOKEN");
  ControlLinkOptions options;
  options.address = address;
  options.token = token ? token : "";
  options.identity = std::move(identity);
  return std::make_unique<ControlLink>(std::move(options), std::move(handlers));
}

ControlLink::ControlLink(ControlLinkOptions options, ControlHandlers handlers)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handlers))) {
  impl_->start();
}

ControlLink::~ControlLink() {
  impl_->stopping = true;
  impl_->wake_up();
  impl_->thread.join();
}

void ControlLink::event(ControlEvent event) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->events.size() == kQueuedEvents) impl_->events.pop_front();
    impl_->events.push_back(std::move(event));
  }
  impl_->wake_up();
}

void ControlLink::report_now() const {
  impl_->wake_up();
}

void ControlLink::set_goodbye(const Goodbye& goodbye) {
  const std::lock_guard lock(impl_->mutex);
  impl_->goodbye = goodbye;
}

}  // namespace triptych

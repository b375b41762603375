// fork, exec, pipes and SIGCHLD on an io_context.
#include "distributed/launcher/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "distributed/launcher/engine.h"

extern char** environ;

namespace triptych {
namespace {

StorageError no_room(const std::string& what, const std::string& program, int error) {
  return StorageError("cannot start " + program + ": " + what + ": " + std::strerror(error) +
                          "; raise the limit (ulimit -n, ulimit -u) or free memory",
                      error);
}

struct Pipe {
  FileHandle read, write;
};

/// Both ends above 2, so that a dup2 onto 0 to 2 in the new process never meets one of them.
Pipe make_pipe(const std::string& program) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw no_room("pipe", program, errno);
  Pipe pipe{FileHandle(ends[0]), FileHandle(ends[1])};
  for (auto* end : {&pipe.read, &pipe.write}) {
    if (end->get() > 2) continue;
    const int high = ::fcntl(end->get(), F_DUPFD_CLOEXEC, 3);
    if (high < 0) throw no_room("pipe", program, errno);
    *end = FileHandle(high);
  }
  return pipe;
}

/// "NAME=value" of this process with `more` set over it.
std::vector<std::string> environment_with(const std::map<std::string, std::string>& more) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (!more.contains(std::string(text.substr(0, text.find('='))))) variables.emplace_back(text);
  }
  for (const auto& [name, value] : more) variables.push_back(name + "=" + value);
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// Descriptors above 2: libraries open some without close-on-exec.
std::vector<int> open_descriptors() {
  std::vector<int> open;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int descriptor = std::atoi(entry.path().filename().c_str());
    if (descriptor > 2) open.push_back(descriptor);
  }
  return open;
}

/// Everything the new process needs, made before the fork: after it only system calls are safe.
struct ExecPlan {
  std::string path;
  std::vector<char*> words, environment;
  std::vector<int> close;
  pid_t parent;
  int null, out, err, report;
};

void default_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// In the new process. Returns only by writing errno to the report pipe.
[[noreturn]] void become(const ExecPlan& plan) {
  const auto fail = [&] {
    const int error = errno;
    [[maybe_unused]] const auto ignored = ::write(plan.report, &error, sizeof(error));
    ::_exit(127);
  };
  ::setpgid(0, 0);
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail();
  // The launcher may have ended between fork and prctl: no signal will come then.
  if (::getppid() != plan.parent) ::_exit(127);
  if (::dup2(plan.null, 0) < 0 || ::dup2(plan.out, 1) < 0 || ::dup2(plan.err, 2) < 0) fail();
  for (const int descriptor : plan.close) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  default_signals();
  ::execve(plan.path.c_str(), plan.words.data(), plan.environment.data());
  fail();
  std::abort();
}

/// fork with all signals blocked: a handler of this process must not run in the new one, whose wake-up pipes are ours.
pid_t fork_blocked(const ExecPlan& plan) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  const int error = errno;
  if (pid == 0) become(plan);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return pid;
}

/// errno of a failed exec; 0 when the report pipe was closed by a successful one.
int exec_error(int report) {
  int error = 0;
  ssize_t got = -1;
  do {
    got = ::read(report, &error, sizeof(error));
  } while (got < 0 && errno == EINTR);
  return got == sizeof(error) ? error : 0;
}

std::string resolved_program(const std::vector<std::string>& words) {
  if (words.empty() || words.front().empty())
    throw ConfigError("no program to start; expected a path or a name on PATH");
  if (words.front().find('/') != std::string::npos) return words.front();
  const char* path = std::getenv("PATH");
  auto found = find_executable(words.front(), path != nullptr ? path : "");
  if (found.empty()) throw ConfigError("cannot start " + words.front() + ": not on PATH; install it or give its path");
  return found;
}

struct Started {
  pid_t pid;
  FileHandle out, err;
};

Started start_process(const ChildCommand& command) {
  const auto program = resolved_program(command.words);
  auto words = command.words;
  auto variables = environment_with(command.environment);
  auto out = make_pipe(program), err = make_pipe(program), report = make_pipe(program);
  // O_RDWR so that nothing here can fail on a reader's side; high as the pipes.
  FileHandle low_null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const FileHandle null(low_null.get() < 0 ? -1 : ::fcntl(low_null.get(), F_DUPFD_CLOEXEC, 3));
  if (null.get() < 0) throw no_room("/dev/null", program, errno);
  const ExecPlan plan{.path = program,
                      .words = pointers(words),
                      .environment = pointers(variables),
                      .close = open_descriptors(),
                      .parent = ::getpid(),
                      .null = null.get(),
                      .out = out.write.get(),
                      .err = err.write.get(),
                      .report = report.write.get()};
  const pid_t pid = fork_blocked(plan);
  if (pid < 0) throw no_room("fork", program, errno);
  ::setpgid(pid, pid);  // here too: a signal to the group may be asked for before the new process has run at all
  report.write.close();
  const int error = exec_error(report.read.get());
  if (error != 0) {
    ::waitpid(pid, nullptr, 0);
    throw ConfigError("cannot start " + program + ": " + std::strerror(error) + " (errno " + std::to_string(error) +
                      "); check that it is an executable for this machine");
  }
  return {pid, std::move(out.read), std::move(err.read)};
}

/// Bytes to lines, none longer than `longest`.
class LineCutter {
 public:
  explicit LineCutter(std::size_t longest) : longest_(std::max<std::size_t>(longest, 1)) {}

  template <class Emit>
  void add(std::string_view bytes, Emit&& emit) {
    while (!bytes.empty()) {
      const auto newline = bytes.find('\n');
      const auto length = std::min(newline, bytes.size());
      const auto room = longest_ - held_.size();
      if (length > room) {
        held_ += bytes.substr(0, room);
        bytes.remove_prefix(room);
        hand_out(emit, false);
        continue;
      }
      held_ += bytes.substr(0, length);
      bytes.remove_prefix(length);
      if (newline == bytes.npos) return;
      bytes.remove_prefix(1);
      hand_out(emit, true);
    }
  }

  /// What came last, without a newline.
  template <class Emit>
  void end(Emit&& emit) {
    if (!held_.empty()) hand_out(emit, true);
  }

 private:
  template <class Emit>
  void hand_out(Emit&& emit, bool whole) {
    const auto line = std::exchange(held_, {});
    emit(std::string_view(line), whole);
  }

  std::size_t longest_;
  std::string held_;
};

}  // namespace

/// Kept alive by pending operations, so that a handler may destroy the Child that called it.
struct Child::State : std::enable_shared_from_this<Child::State> {
  struct Output {
    Output(boost::asio::io_context& io, FileHandle handle, Stream which, std::size_t longest)
        : descriptor(io, handle.release()), stream(which), cutter(longest) {}
    boost::asio::posix::stream_descriptor descriptor;
    Stream stream;
    LineCutter cutter;
    std::array<char, 16384> buffer{};
    bool open = true;
  };

  State(boost::asio::io_context& io, const ChildCommand& command, ChildHandlers callbacks)
      : deaths(io, SIGCHLD),
        grace_timer(io),
        grace(command.grace),
        handlers(std::move(callbacks)),
        process(start_process(command)),
        out(io, std::move(process.out), Stream::kOut, command.longest_line),
        err(io, std::move(process.err), Stream::kErr, command.longest_line) {}

  ~State() {
    if (!reaped) ::waitpid(process.pid, nullptr, WNOHANG);
  }

  void run() {
    read(out);
    read(err);
    wait_for_death();
  }

  void read(Output& output) {
    output.descriptor.async_read_some(
        boost::asio::buffer(output.buffer), [self = shared_from_this(), &output](const auto& error, std::size_t size) {
          if (!output.open) return;
          const std::string_view bytes(output.buffer.data(), size);
          output.cutter.add(bytes, [&](auto line, bool whole) { self->hand_on(output.stream, line, whole); });
          if (!error) return self->read(output);
          self->close(output);
          self->end_if_complete();
        });
  }

  void hand_on(Stream stream, std::string_view line, bool whole) {
    // A copy: the handler may destroy the Child, which takes the handlers away.
    const auto handler = handlers.line;
    if (handler) handler(stream, line, whole);
  }

  void close(Output& output) {
    if (!std::exchange(output.open, false)) return;
    output.cutter.end([&](auto line, bool whole) { hand_on(output.stream, line, whole); });
    boost::system::error_code ignored;
    output.descriptor.close(ignored);
  }

  /// The set is older than the process and counts signals that came before this wait: no end is missed.
  void wait_for_death() {
    deaths.async_wait([self = shared_from_this()](const auto& error, int) {
      if (error) return;
      self->look();  // signals of several children may have become one: it is only a hint
      if (!self->dead) self->wait_for_death();
    });
  }

  /// Peeks without reaping: while the zombie is there, its number and its group's belong to nobody else.
  void look() {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(process.pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
      throw std::logic_error("process " + std::to_string(process.pid) + " was reaped by other code");
    }
    if (info.si_pid == 0) return;
    dead = true;
    result.signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    result.code = result.signal == 0 ? info.si_status : 128 + result.signal;
    start_grace();
    end_if_complete();
  }

  void start_grace() {
    grace_timer.expires_after(grace);
    grace_timer.async_wait([self = shared_from_this()](const auto& error) {
      if (error) return;
      self->grace_over = true;
      self->close(self->out);
      self->close(self->err);
      self->end_if_complete();
    });
  }

  void end_if_complete() {
    if (!dead || reaped || out.open || err.open) return;
    reaped = true;
    ::waitpid(process.pid, nullptr, 0);  // a zombie: does not wait
    grace_timer.cancel();
    result.output_closed = !grace_over;
    const auto handler = std::exchange(handlers, {}).end;
    if (handler) handler(result);
  }

  /// The Child is gone: silence. A process that still runs is killed, and reaped if the io_context runs on.
  void abandon() {
    handlers = {};
    if (!dead && !reaped) ::kill(-process.pid, SIGKILL);
    if (dead) grace_over = true;
    out.open = err.open = false;
    boost::system::error_code ignored;
    out.descriptor.close(ignored);
    err.descriptor.close(ignored);
    end_if_complete();
  }

  boost::asio::signal_set deaths;
  boost::asio::steady_timer grace_timer;
  std::chrono::milliseconds grace;
  ChildHandlers handlers;
  Started process;
  Output out, err;
  bool dead = false, reaped = false, grace_over = false;
  ChildEnd result;
};

Child::Child(boost::asio::io_context& io, const ChildCommand& command, ChildHandlers handlers)
    : state_(std::make_shared<State>(io, command, std::move(handlers))) {
  state_->run();
}

Child::~Child() {
  state_->abandon();
}

pid_t Child::pid() const {
  return state_->process.pid;
}

bool Child::ended() const {
  return state_->reaped;
}

void Child::signal(int number) {
  if (!state_->reaped) ::kill(state_->process.pid, number);
}

void Child::signal_group(int number) {
  if (!state_->reaped) ::kill(-state_->process.pid, number);
}

}  // namespace triptych

// A bounded buffer before a non-blocking descriptor.
#include "distributed/launcher/output_writer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"

namespace triptych {
namespace {

enum class Sink { kFile, kSocket, kOther };

struct OwnSink {
  FileHandle handle;
  Sink kind;
};

/// O_NONBLOCK belongs to the open file, which our stdout shares with the shell and others: so open it a second time.
OwnSink own_sink(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    throw StorageError("cannot write to descriptor " + std::to_string(descriptor) + ": " + std::strerror(errno) +
                           "; start this with stdout and stderr open",
                       errno);
  }
  const auto kind = S_ISREG(status.st_mode) ? Sink::kFile : S_ISSOCK(status.st_mode) ? Sink::kSocket : Sink::kOther;
  if (kind == Sink::kOther) {
    const auto path = "/proc/self/fd/" + std::to_string(descriptor);
    FileHandle again(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (again.get() >= 0) return {std::move(again), kind};
  }
  FileHandle same(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
  if (same.get() < 0) throw StorageError(std::string("cannot duplicate a descriptor: ") + std::strerror(errno), errno);
  // Another user's pipe cannot be opened again. Sharing the flag is better than to wait for its reader.
  if (kind == Sink::kOther) ::fcntl(same.get(), F_SETFL, ::fcntl(same.get(), F_GETFL) | O_NONBLOCK);
  return {std::move(same), kind};
}

}  // namespace

struct OutputWriter::State : std::enable_shared_from_this<OutputWriter::State> {
  State(boost::asio::io_context& context, OwnSink sink, std::size_t bytes)
      : io(context), descriptor(context, sink.handle.release()), kind(sink.kind), limit(bytes) {}

  void add(std::string_view line) {
    if (!error.empty()) return;
    // Once lines are lost, half of the buffer must be free again: one notice for many lines.
    const auto room = missing > 0 ? limit / 2 : limit;
    if (pending() + line.size() + 1 > room) {
      ++missing;
      ++dropped;
    } else {
      say_missing();
      append(line);
    }
    if (!waiting) write();
  }

  std::size_t pending() const { return buffer.size() - written; }

  void append(std::string_view line) {
    buffer += line;
    buffer += '\n';
  }

  void say_missing() {
    if (missing > 0) append("... " + std::to_string(missing) + " lines dropped");
    missing = 0;
  }

  ssize_t write_once() {
    const auto* bytes = buffer.data() + written;
    const int handle = descriptor.native_handle();
    if (kind == Sink::kSocket) return ::send(handle, bytes, pending(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return ::write(handle, bytes, pending());
  }

  void write() {
    while (pending() > 0) {
      const auto sent = write_once();
      const int failure = sent < 0 ? errno : 0;
      if (failure == EINTR) continue;
      if (failure == EAGAIN || failure == EWOULDBLOCK) return wait();
      if (failure != 0) {
        error = std::strerror(failure);
        buffer.clear();
        written = 0;
      } else {
        written += static_cast<std::size_t>(sent);
      }
      compact();
      if (pending() == 0 && error.empty()) say_missing();
    }
    tell_idle();
  }

  /// The written part goes when it is the larger one, so that each byte is moved once on average.
  void compact() {
    if (written * 2 < buffer.size()) return;
    buffer.erase(0, written);
    written = 0;
  }

  void wait() {
    waiting = true;
    descriptor.async_wait(boost::asio::posix::descriptor_base::wait_write,
                          [self = shared_from_this()](const boost::system::error_code& code) {
                            self->waiting = false;
                            if (!code) self->write();
                          });
  }

  void tell_idle() {
    if (!idle_call) return;
    boost::asio::post(io, [self = shared_from_this()] {
      if (const auto call = std::exchange(self->idle_call, nullptr)) call();
    });
  }

  boost::asio::io_context& io;
  boost::asio::posix::stream_descriptor descriptor;
  Sink kind;
  std::size_t limit;
  std::string buffer, error;
  std::size_t written = 0;
  bool waiting = false;
  std::int64_t missing = 0, dropped = 0;
  std::function<void()> idle_call;
};

OutputWriter::OutputWriter(boost::asio::io_context& io, int descriptor, std::size_t limit)
    : state_(std::make_shared<State>(io, own_sink(descriptor), limit)) {
  ::signal(SIGPIPE, SIG_IGN);
}

OutputWriter::~OutputWriter() {
  boost::system::error_code ignored;
  state_->idle_call = nullptr;
  state_->descriptor.close(ignored);
}

void OutputWriter::add(std::string_view line) {
  state_->add(line);
}

void OutputWriter::when_idle(std::function<void()> call) {
  state_->idle_call = std::move(call);
  if (!state_->waiting) state_->tell_idle();
}

std::int64_t OutputWriter::dropped() const {
  return state_->dropped;
}

const std::string& OutputWriter::error() const {
  return state_->error;
}

}  // namespace triptych

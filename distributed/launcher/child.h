// A process that the launcher starts and watches on its one thread: lines of its output, and how it ended.
#pragma once
#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

enum class Stream { kOut, kErr };

struct ChildCommand {
  std::vector<std::string> words;                  ///< program and arguments; no shell reads them
  std::map<std::string, std::string> environment;  ///< set over the launcher's own
  std::chrono::milliseconds grace{1000};           ///< how long output may stay open after the process has ended
  std::size_t longest_line = 64 << 10;             ///< bytes; a longer line comes in pieces
};

struct ChildEnd {
  int code = 0;                ///< exit status; 128 + n if signal n ended it
  int signal = 0;              ///< 0: it exited by itself
  bool output_closed = false;  ///< false: another process still held a pipe when the grace was over
};

struct ChildHandlers {
  /// A line without its newline. `whole` is false where the line goes on in the next call: longer than longest_line.
  std::function<void(Stream stream, std::string_view line, bool whole)> line;
  /// The last call. Destroying the Child in it is allowed.
  std::function<void(const ChildEnd& end)> end;
};

/// Starts in the constructor, in a process group of its own, stdin from /dev/null, default signals, only descriptors 0
/// to 2. It is killed by the kernel if this process ends. Handlers are called by the io_context, never by a call here.
/// One thread only: the kernel takes the end of the starting thread for the end of this process. The io_context must
/// outlive the object.
class Child {
 public:
  /// Throws ConfigError if the program cannot be executed (path and reason), StorageError if the system has no room for
  /// a process or a pipe.
  Child(boost::asio::io_context& io, const ChildCommand& command, ChildHandlers handlers);
  /// Kills the group if the process still runs; no handler is called any more.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const;
  bool ended() const;  ///< the end was reported, or is being reported
  /// To the process alone, or to all of its group. Nothing happens once it has ended.
  void signal(int number);
  void signal_group(int number);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace triptych

// Lines to a descriptor that may stall: a terminal that is held, a pipe that nobody reads. Never waits.
#pragma once
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace triptych {

/// Keeps at most `limit` bytes. Lines beyond are dropped, counted, and said in their place: "... 120 lines dropped". An
/// error (EPIPE, a full disk) ends the writing, nothing else. Sets SIGPIPE to be ignored in this process.
class OutputWriter {
 public:
  /// `descriptor` stays the caller's, its flags are not changed (but for what cannot be opened a second time). A plain
  /// file is written at once. Throws StorageError if it is not open.
  OutputWriter(boost::asio::io_context& io, int descriptor, std::size_t limit);
  ~OutputWriter();
  OutputWriter(const OutputWriter&) = delete;
  OutputWriter& operator=(const OutputWriter&) = delete;

  /// One line, without its newline.
  void add(std::string_view line);
  /// Called once by the io_context when nothing is left to write, or writing has ended. One at a time.
  void when_idle(std::function<void()> call);
  std::int64_t dropped() const;      ///< lines since the start
  const std::string& error() const;  ///< why writing has ended; empty while it goes on

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace triptych

// What the ranks print, through the one pipe of mpirun or srun: whose line it is, and "node2:3 | text" for the reader.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/launcher/child.h"
#include "distributed/launcher/engine.h"
#include "distributed/launcher/output_writer.h"

namespace triptych {

/// Takes the labels of mpirun --tag-output ("[1,3]<stdout>:text") or srun --label ("3: text") off. mpirun labels pieces
/// as they come, also in the middle of a line that another rank has begun: pieces are put together again.
class RankLines {
 public:
  /// rank -1: a line of mpirun or srun itself.
  using Emit = std::function<void(int rank, Stream stream, std::string_view text)>;
  /// Labels of ranks outside [0, ranks) are text. A line longer than `longest` bytes is cut.
  RankLines(Engine engine, int ranks, Emit emit, std::size_t longest = 64 << 10);
  /// What a Child's line handler gets.
  void add(Stream stream, std::string_view line, bool whole);
  /// Lines that have no end yet.
  void flush();

 private:
  struct Label;
  void add_piece(int rank, Stream stream, std::string_view text, bool ends);
  Label next_label(Stream stream, std::string_view text, std::size_t from) const;

  Engine engine_;
  int ranks_;
  Emit emit_;
  std::size_t longest_;
  std::map<std::pair<int, Stream>, std::string> begun_;
  std::map<Stream, int> goes_on_;       // whose line the next bytes of a stream belong to
  std::map<Stream, std::string> held_;  // the begin of a label, perhaps
};

/// Prints whole lines of ranks, and the launcher's own, to stdout and stderr. Never waits; see OutputWriter.
class RankOutput {
 public:
  /// `hosts`: host of each rank. `limit`: bytes kept per stream for a reader that stalls.
  RankOutput(boost::asio::io_context& io, Engine engine, std::vector<std::string> hosts, int out = 1, int err = 2,
             std::size_t limit = 1 << 20);
  ~RankOutput();
  RankOutput(const RankOutput&) = delete;
  RankOutput& operator=(const RankOutput&) = delete;

  /// Another start of the job: what its ranks had begun is printed, and later lines are from these hosts.
  void restart(std::vector<std::string> hosts);
  /// What a Child's line handler gets.
  void add(Stream stream, std::string_view line, bool whole);
  /// A line of the launcher itself.
  void say(Stream stream, std::string_view line);
  /// Prints what was begun and calls `done` when all is written, or after `limit` for a reader that stalls.
  void finish(std::chrono::milliseconds limit, std::function<void()> done);

  std::int64_t dropped(Stream stream) const { return writer(stream).dropped(); }    ///< lines
  const std::string& error(Stream stream) const { return writer(stream).error(); }  ///< why printing has ended, or ""

 private:
  OutputWriter& writer(Stream stream) { return stream == Stream::kOut ? out_ : err_; }
  const OutputWriter& writer(Stream stream) const { return stream == Stream::kOut ? out_ : err_; }
  void print(int rank, Stream stream, std::string_view text);

  Engine engine_;
  std::vector<std::string> hosts_;
  OutputWriter out_, err_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<RankLines> lines_;
};

}  // namespace triptych

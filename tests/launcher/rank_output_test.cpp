// Labels of mpirun and srun, lines put together, and readers that stall or leave.
#include "distributed/launcher/rank_output.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;

/// RankLines with what it gave out, as "rank stream text".
struct Parsed {
  explicit Parsed(Engine engine, int ranks = 4, std::size_t longest = 64 << 10)
      : lines(
            engine, ranks,
            [this](int rank, Stream stream, auto text) {
              out.push_back(std::to_string(rank) + (stream == Stream::kOut ? " out " : " err ") + std::string(text));
            },
            longest) {}
  std::vector<std::string> out;
  RankLines lines;
};

std::vector<std::string> parsed(Engine engine, const std::vector<std::string>& text, Stream stream = Stream::kOut) {
  Parsed parsed(engine);
  for (const auto& line : text) parsed.lines.add(stream, line, true);
  parsed.lines.flush();
  return parsed.out;
}

/// A pipe; what was written to it.
struct Reader {
  Reader() {
    std::array<int, 2> both{};
    if (::pipe(both.data()) != 0) throw std::runtime_error("pipe");
    read_end = both[0];
    write_end = both[1];
    ::fcntl(read_end, F_SETFL, O_NONBLOCK);
  }
  ~Reader() {
    close_read();
    ::close(write_end);
  }
  void close_read() {
    if (read_end >= 0) ::close(std::exchange(read_end, -1));
  }
  void drain() {
    std::array<char, 65536> bytes{};
    for (ssize_t got = 0; (got = ::read(read_end, bytes.data(), bytes.size())) > 0;) {
      text.append(bytes.data(), static_cast<std::size_t>(got));
    }
  }
  std::vector<std::string> lines() {
    drain();
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  int read_end = -1, write_end = -1;
  std::string text;
};

/// Calls finish and runs the loop, reading along; true if `done` came.
bool finished(boost::asio::io_context& io, RankOutput& output, Reader& out, Reader& err, bool reads = true) {
  bool done = false;
  output.finish(reads ? 20s : 100ms, [&] { done = true; });
  for (const auto start = Clock::now(); !done && seconds_since(start) < 30;) {
    io.restart();
    io.run_for(5ms);
    if (reads) {
      out.drain();
      err.drain();
    }
  }
  return done;
}

TEST(RankLines, MpirunLabels) {
  EXPECT_THAT(parsed(Engine::kMpirun, {"[1,0]<stdout>:a b", "[1,3]<stdout>:", "[27,2]<stdout>:c: [d]"}),
              ElementsAre("0 out a b", "3 out ", "2 out c: [d]"));
  EXPECT_THAT(parsed(Engine::kMpirun, {"[1,1]<stderr>:a", "[1,1]<stddiag>:b"}, Stream::kErr),
              ElementsAre("1 err a", "1 err b"));
  // What is no label of this job and stream is text, of mpirun itself at the begin of a line.
  EXPECT_THAT(
      parsed(Engine::kMpirun, {"--------", "", "[1,4]<stdout>:x", "[1,0]<stderr>:x", "[1,]<stdout>:x", "[,1]<stdout>:x",
                               "[1,0]<stdout>x", "[1,99999999999]<stdout>:x", "[1,-1]<stdout>:x"}),
      ElementsAre("-1 out --------", "-1 out ", "-1 out [1,4]<stdout>:x", "-1 out [1,0]<stderr>:x",
                  "-1 out [1,]<stdout>:x", "-1 out [,1]<stdout>:x", "-1 out [1,0]<stdout>x",
                  "-1 out [1,99999999999]<stdout>:x", "-1 out [1,-1]<stdout>:x"));
}

TEST(RankLines, PiecesOfSeveralRanksInOneLineAreTakenApart) {
  // As mpirun prints `printf b` of two ranks, each with its rest of the line later.
  EXPECT_THAT(parsed(Engine::kMpirun,
                     {"[1,0]<stdout>:b[1,1]<stdout>:hi", "[1,1]<stdout>:c[1,0]<stdout>: rest", "[1,1]<stdout>: end"}),
              ElementsAre("1 out hi", "0 out b rest", "1 out c end"));
  EXPECT_THAT(parsed(Engine::kMpirun, {"[1,0]<stdout>:never ended[1,1]<stdout>:hi"}),
              ElementsAre("1 out hi", "0 out never ended"));
}

TEST(RankLines, LinesThatComeInPieces) {
  Parsed parsed(Engine::kMpirun);
  parsed.lines.add(Stream::kOut, "[1,2]<stdout>:aaa", false);
  parsed.lines.add(Stream::kOut, "bbb[1,2]<std", false);  // cut inside a label
  parsed.lines.add(Stream::kErr, "[1,0]<stderr>:between", true);
  parsed.lines.add(Stream::kOut, "out>:ccc", true);
  parsed.lines.add(Stream::kOut, "[1,1]<stdout>:ddd [not", false);
  parsed.lines.flush();
  EXPECT_THAT(parsed.out, ElementsAre("0 err between", "2 out aaabbbccc", "1 out ddd [not"));
  Parsed bounded(Engine::kMpirun, 4, 4);
  bounded.lines.add(Stream::kOut, "[1,0]<stdout>:abcdefghij", true);
  EXPECT_THAT(bounded.out, ElementsAre("0 out abcd", "0 out efgh", "0 out ij"));
}

TEST(RankLines, SrunLabels) {
  EXPECT_THAT(
      parsed(Engine::kSrun, {"3: text", " 0: a: b", "1: ", "2:", "srun: error: node2: task 1: Killed", "7: x", "x"}),
      ElementsAre("3 out text", "0 out a: b", "1 out ", "2 out ", "-1 out srun: error: node2: task 1: Killed",
                  "-1 out 7: x", "-1 out x"));
  Parsed parsed(Engine::kSrun);
  parsed.lines.add(Stream::kOut, "1: first", false);
  parsed.lines.add(Stream::kOut, "2: is text [", false);
  parsed.lines.add(Stream::kOut, "end", true);
  EXPECT_THAT(parsed.out, ElementsAre("1 out first2: is text [end"));
}

TEST(RankOutput, HostAndRankStandBeforeEachLine) {
  boost::asio::io_context io;
  Reader out, err;
  RankOutput output(io, Engine::kMpirun, {"node1", "node1", "node2"}, out.write_end, err.write_end);
  output.add(Stream::kOut, "[1,2]<stdout>:text", true);
  output.add(Stream::kErr, "[1,0]<stderr>:warning", true);
  output.add(Stream::kErr, "mpirun noticed", true);
  output.say(Stream::kErr, "launch: restart 1 of 3");
  output.add(Stream::kOut, "[1,1]<stdout>:\x1b[31mred\x1b[0m\ttab\r", true);
  output.add(Stream::kOut, "[1,1]<stdout>:begun[1,0]<stdout>:whole", true);
  output.restart({"node9"});
  output.add(Stream::kOut, "[1,0]<stdout>:again", true);
  output.add(Stream::kOut, "[1,2]<stdout>:no rank of this start", true);
  EXPECT_TRUE(finished(io, output, out, err));
  EXPECT_THAT(out.lines(),
              ElementsAre("node2:2 | text", "node1:1 | ?[31mred?[0m\ttab", "node1:0 | whole", "node1:1 | begun",
                          "node9:0 | again", "mpirun | [1,2]<stdout>:no rank of this start"));
  EXPECT_THAT(err.lines(), ElementsAre("node1:0 | warning", "mpirun | mpirun noticed", "launch: restart 1 of 3"));
}

TEST(RankOutput, AStalledReaderStopsNothingAndIsToldWhatItMissed) {
  boost::asio::io_context io;
  Reader out, err;
  RankOutput output(io, Engine::kSrun, {"n"}, out.write_end, err.write_end, 10000);
  const std::string text(100, 'x');
  int added = 0;
  for (; added < 20000; ++added) {
    output.add(Stream::kOut, "0: " + text, true);  // 2 MB: pipe and buffer hold far less
    if (added % 100 == 0) io.poll();
  }
  output.add(Stream::kErr, "0: the other stream goes on", true);
  EXPECT_THAT(err.lines(), ElementsAre("n:0 | the other stream goes on"));
  EXPECT_GT(output.dropped(Stream::kOut), 10000);
  EXPECT_EQ(output.dropped(Stream::kErr), 0);
  EXPECT_TRUE(finished(io, output, out, err));
  const auto lines = out.lines();
  ASSERT_GT(lines.size(), 2u);
  // Every line is whole, and the notices account for each one that is missing.
  std::int64_t missing = 0, whole = 0;
  for (const auto& line : lines) {
    if (line == "n:0 | " + text) {
      ++whole;
    } else {
      ASSERT_THAT(line, ::testing::MatchesRegex("\\.\\.\\. [0-9]+ lines dropped"));
      missing += std::stoll(line.substr(4));
    }
  }
  EXPECT_EQ(missing, output.dropped(Stream::kOut));
  EXPECT_EQ(whole + missing, added);
}

TEST(RankOutput, AReaderThatComesBackGetsTheNextLines) {
  boost::asio::io_context io;
  Reader out, err;
  RankOutput output(io, Engine::kSrun, {"n"}, out.write_end, err.write_end, 5000);
  for (int i = 0; i < 3000; ++i) output.add(Stream::kOut, "0: " + std::string(50, 'a'), true);
  EXPECT_GT(output.dropped(Stream::kOut), 0);
  for (int i = 0; i < 100; ++i) {
    out.drain();
    io.restart();
    io.poll();
  }
  EXPECT_THAT(out.lines().back(), HasSubstr("lines dropped"));  // said without waiting for another line
  const auto before = output.dropped(Stream::kOut);
  output.add(Stream::kOut, "0: after", true);
  EXPECT_TRUE(finished(io, output, out, err));
  EXPECT_EQ(out.lines().back(), "n:0 | after");
  EXPECT_EQ(output.dropped(Stream::kOut), before);
}

TEST(RankOutput, FinishEndsAlsoIfTheReaderNeverReads) {
  boost::asio::io_context io;
  Reader out, err;
  RankOutput output(io, Engine::kSrun, {"n"}, out.write_end, err.write_end);
  for (int i = 0; i < 3000; ++i) output.add(Stream::kOut, "0: " + std::string(50, 'a'), true);
  EXPECT_TRUE(finished(io, output, out, err, false));
}

TEST(RankOutput, AReaderThatLeavesEndsPrintingOnly) {
  boost::asio::io_context io;
  Reader out, err;
  ::signal(SIGPIPE, SIG_DFL);  // the writer must not be killed by it
  RankOutput output(io, Engine::kSrun, {"n"}, out.write_end, err.write_end);
  output.add(Stream::kOut, "0: first", true);
  out.close_read();
  for (int i = 0; i < 10; ++i) output.add(Stream::kOut, "0: nobody reads", true);
  output.add(Stream::kErr, "0: still read", true);
  EXPECT_EQ(output.error(Stream::kOut), "Broken pipe");
  EXPECT_EQ(output.error(Stream::kErr), "");
  EXPECT_TRUE(finished(io, output, out, err));
  EXPECT_THAT(err.lines(), ElementsAre("n:0 | still read"));
}

TEST(RankOutput, TheFlagsOfASharedPipeStayAsTheyAre) {
  boost::asio::io_context io;
  Reader out, err;
  RankOutput output(io, Engine::kSrun, {"n"}, out.write_end, err.write_end);
  for (int i = 0; i < 3000; ++i) output.add(Stream::kOut, "0: " + std::string(50, 'a'), true);
  io.poll();
  EXPECT_EQ(::fcntl(out.write_end, F_GETFL) & O_NONBLOCK, 0);
}

TEST(RankOutput, FilesSocketsAndTheNullDevice) {
  const TempDir dir;
  boost::asio::io_context io;
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const int file = ::open((dir / "log").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  ASSERT_EQ(::write(file, "before\n", 7), 7);
  const int null = ::open("/dev/null", O_WRONLY);
  {
    RankOutput output(io, Engine::kSrun, {"n"}, file, ends[0], 1 << 22);
    OutputWriter nowhere(io, null, 100);
    for (int i = 0; i < 20000; ++i) output.add(Stream::kOut, "0: " + std::to_string(i), true);
    for (int i = 0; i < 20000; ++i) output.add(Stream::kErr, "0: " + std::string(40, 's'), true);
    for (int i = 0; i < 100; ++i) nowhere.add("a line");
    EXPECT_EQ(nowhere.dropped(), 0);
    bool done = false;
    output.finish(20s, [&] { done = true; });
    std::size_t received = 0;
    std::array<char, 65536> bytes{};
    while (!done) {
      io.restart();
      io.run_for(2ms);
      for (ssize_t got = 0; (got = ::recv(ends[1], bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;) {
        received += static_cast<std::size_t>(got);
      }
    }
    EXPECT_EQ(received, 20000u * (6 + 40 + 1));
    EXPECT_EQ(output.dropped(Stream::kOut) + output.dropped(Stream::kErr), 0);
  }
  std::ifstream log(dir / "log");
  const std::string text((std::istreambuf_iterator<char>(log)), {});
  EXPECT_EQ(text.substr(0, 22), "before\nn:0 | 0\nn:0 | 1");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20001);
  for (const int descriptor : {ends[0], ends[1], file, null}) ::close(descriptor);
  EXPECT_THROW(OutputWriter(io, 9999, 100), StorageError);
}

TEST(RankOutput, AFullDiskEndsPrintingWithItsReason) {
  boost::asio::io_context io;
  const int full = ::open("/dev/full", O_WRONLY);
  OutputWriter writer(io, full, 100);
  writer.add("a line");
  EXPECT_EQ(writer.error(), "No space left on device");
  ::close(full);
}

TEST(RankOutput, RealMpirunWithTwoRanks) {
  boost::asio::io_context io;
  Reader out, err;
  RankOutput output(io, Engine::kMpirun, {"a", "b"}, out.write_end, err.write_end);
  ChildCommand command;
  command.words = {
      "mpirun",
      "-np",
      "2",
      "--host",
      "localhost:2",
      "--bind-to",
      "none",
      "--tag-output",
      "sh",
      "-c",
      "r=$OMPI_COMM_WORLD_RANK; echo one $r; printf begun; sleep 0.3; echo \" and ended $r\"; echo err $r >&2; "
      "head -c 10000 /dev/zero | tr '\\0' $r; echo"};
  ChildEnd end{.code = -1};
  ChildHandlers handlers;
  handlers.line = [&](Stream stream, auto line, bool whole) { output.add(stream, line, whole); };
  handlers.end = [&](const ChildEnd& how) { end = how; };
  {
    Child child(io, command, std::move(handlers));
    io.run_for(60s);
  }
  EXPECT_EQ(end.code, 0);
  EXPECT_TRUE(finished(io, output, out, err));
  EXPECT_THAT(out.lines(),
              UnorderedElementsAre("a:0 | one 0", "b:1 | one 1", "a:0 | begun and ended 0", "b:1 | begun and ended 1",
                                   "a:0 | " + std::string(10000, '0'), "b:1 | " + std::string(10000, '1')));
  EXPECT_THAT(err.lines(), ::testing::IsSupersetOf({"a:0 | err 0", "b:1 | err 1"}));
}

}  // namespace
}  // namespace triptych

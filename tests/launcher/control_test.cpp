// Server and links over real sockets on loopback: joining, reporting, dying, and what strangers can do.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "distributed/launcher/control_link.h"
#include "distributed/launcher/control_server.h"
#include "distributed/launcher/control_socket.h"

namespace triptych {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

constexpr double kSoon = 20;  // s; a bound for a busy machine, not a speed

/// A server, and what it told.
struct Launcher {
  boost::asio::io_context io;
  std::string token = new_job_token();
  std::vector<RankIdentity> joined;
  std::map<int, ProgressBoard::View> views;
  std::map<int, int> reports;
  std::vector<ControlEvent> events;
  std::map<int, std::string> stacks;
  std::vector<std::pair<int, LinkEnd>> gone;
  std::vector<std::string> refused;
  std::unique_ptr<ControlServer> server;

  explicit Launcher(int ranks = 4, Clock::duration join_within = std::chrono::seconds(2)) {
    ControlServerOptions options;
    options.ranks = ranks;
    options.token = token;
    options.join_within = join_within;
    server = std::make_unique<ControlServer>(io, options, callbacks());
  }

  ControlCallbacks callbacks() {
    return {[this](const RankIdentity& who) { joined.push_back(who); },
            [this](int rank, const ProgressBoard::View& view, Clock::time_point) {
              views[rank] = view;
              ++reports[rank];
            },
            [this](int, const ControlEvent& event) { events.push_back(event); },
            [this](int rank, const std::string& text) { stacks[rank] = text; },
            [this](int rank, const LinkEnd& how) { gone.emplace_back(rank, how); },
            [this](const RankIdentity&, const std::string& why, bool) { refused.push_back(why); }};
  }

  /// Runs the launcher until `done` or for `seconds`; whether it is done.
  bool run_until(const std::function<bool()>& done, double seconds = kSoon) {
    const auto start = Clock::now();
    while (!done() && seconds_since(start) < seconds) io.run_for(milliseconds(5));
    return done();
  }
  void run(double seconds) {
    run_until([] { return false; }, seconds);
  }
  std::string address() const { return server->address(); }
  int port() const { return std::stoi(address().substr(address().rfind(':') + 1)); }
};

RankIdentity rank_of_four(int rank) {
  return {rank, 4, "node" + std::to_string(rank / 2 + 1), getpid(), "program", "config"};
}

/// A rank's end in this process, and what it was told.
struct TestLink {
  ProgressBoard board;
  std::atomic<int> stops{0}, end_code{-1};
  std::unique_ptr<ControlLink> link;

  TestLink(const std::string& address, const std::string& token, const RankIdentity& who, double start_s = 30,
           double lost_s = 10) {
    ControlLinkOptions options;
    options.address = address;
    options.token = token;
    options.identity = who;
    options.board = &board;
    options.start_s = start_s;
    options.lost_s = lost_s;
    link =
        std::make_unique<ControlLink>(options, ControlHandlers{[this] { ++stops; }, [this](int c) { end_code = c; }});
  }
  TestLink(const Launcher& launcher, int rank) : TestLink(launcher.address(), launcher.token, rank_of_four(rank)) {}
};

sockaddr_in loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// A connection made by hand, in blocking calls.
class RawClient {
 public:
  explicit RawClient(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto to = loopback(port);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  ~RawClient() {
    if (fd_ >= 0) close(fd_);
  }
  RawClient(RawClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  bool send(const std::string& bytes) {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  /// The next line, while `launcher` runs; nothing once the server has closed.
  std::optional<std::string> line(Launcher& launcher) {
    std::optional<std::string> found;
    launcher.run_until([&] {
      const auto newline = bytes_.find('\n');
      if (newline != std::string::npos) {
        found = bytes_.substr(0, newline);
        bytes_.erase(0, newline + 1);
        return true;
      }
      return !fill();
    });
    return found;
  }
  /// Whether the server has closed it by now.
  bool closed() {
    while (fill()) {
      char byte;
      if (recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) return false;
    }
    return true;
  }

 private:
  /// False: the connection is over.
  bool fill() {
    char piece[4096];
    const auto got = recv(fd_, piece, sizeof piece, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN;
    bytes_.append(piece, static_cast<std::size_t>(got));
    return got > 0;
  }
  int fd_;
  bool connected_ = false;
  std::string bytes_;
};

/// A rank spoken by hand, so that it can misbehave.
struct RawRank {
  RawClient client;
  std::string launcher_nonce, rank_nonce = new_nonce(), join;
  std::optional<ControlKeys> keys;
  std::optional<ControlWriter> writer;

  RawRank(Launcher& launcher, int rank) : client(launcher.port()) {
    const auto job = parse_job_token(launcher.token);
    launcher_nonce = read_hello(client.line(launcher).value());
    keys = ControlKeys::of(job, launcher_nonce, rank_nonce);
    join = join_line(job, launcher_nonce, rank_nonce, rank_of_four(rank));
    client.send(join);
    EXPECT_TRUE(launcher.run_until([&] { return launcher.server->joined() == rank + 1; }));
    writer.emplace(keys->to_launcher);
  }
};

/// A port of its own that passes bytes on to the launcher's, one connection after the other, and can spoil them.
class Relay {
 public:
  explicit Relay(int port) : to_(port), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto at = loopback(0);
    socklen_t size = sizeof at;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&at), size) != 0 || listen(listener_, 4) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0) {
      throw std::runtime_error("no relay");
    }
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Relay() {
    over_ = true;
    thread_.join();
    close(listener_);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  /// Puts `bytes` into what goes to the launcher.
  void add(const std::string& bytes) { ::send(out_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// Ends the connection.
  void cut() { cut_ = true; }
  /// From here on what the launcher says within so long comes in one piece.
  void gather(milliseconds within) { gather_ = within; }

 private:
  void run() {
    while (!over_) {
      if (!readable(listener_)) continue;
      const int in = accept(listener_, nullptr, nullptr);
      RawClient out(to_);
      out_ = out.fd();
      while (!over_ && !cut_.exchange(false) && pass(in, out_)) {
        if (!readable(out_)) continue;
        std::this_thread::sleep_for(gather_.load());
        if (!pass(out_, in)) break;
      }
      close(in);
    }
  }
  static bool readable(int fd) {
    pollfd one{fd, POLLIN, 0};
    return poll(&one, 1, 10) == 1;
  }
  /// False: one side is closed.
  static bool pass(int from, int to) {
    char piece[4096];
    if (!readable(from)) return true;
    const auto got = recv(from, piece, sizeof piece, 0);
    return got > 0 && ::send(to, piece, static_cast<std::size_t>(got), MSG_NOSIGNAL) == got;
  }
  const int to_;
  int listener_, port_ = 0;
  std::atomic<int> out_{-1};
  std::atomic<bool> over_{false}, cut_{false};
  std::atomic<milliseconds> gather_{milliseconds(0)};
  std::thread thread_;
};

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// A child of this test that is a rank: links, makes a step each 50 ms, and does so until it is ended.
pid_t start_rank_process(const Launcher& launcher, int rank, const std::function<void(TestLink&)>& then = {}) {
  const auto child = fork();
  if (child != 0) return child;
  TestLink rank_here(launcher, rank);
  if (then) then(rank_here);
  for (std::int64_t step = 1;; ++step) {
    rank_here.board.step_done(step, 1'000'000, 0.05, 0.05, 1, 1);
    std::this_thread::sleep_for(milliseconds(50));
  }
}

int status_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(Control, RanksJoinReportAndSayGoodbye) {
  Launcher launcher;
  std::vector<std::unique_ptr<TestLink>> links;
  for (int rank = 0; rank < 4; ++rank) links.push_back(std::make_unique<TestLink>(launcher, rank));
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 4 && launcher.views.size() == 4; }));
  std::sort(launcher.joined.begin(), launcher.joined.end(), [](auto& a, auto& b) { return a.rank < b.rank; });
  EXPECT_THAT(launcher.joined, ElementsAre(rank_of_four(0), rank_of_four(1), rank_of_four(2), rank_of_four(3)));

  links[2]->board.enter_collective("ALLREDUCE", 7);
  links[2]->board.step_done(41, 100, 0.5, 0.4, 64, 2.5);
  EXPECT_TRUE(launcher.run_until([&] { return launcher.views[2].step == 41; }));
  EXPECT_EQ(launcher.views[2].operation, "ALLREDUCE");
  EXPECT_EQ(launcher.views[1].step, 0);
  links[1]->link->event({ControlEvent::Kind::kCheckpoint, "saved step 40 in 0.3 s", 40, 0.3});
  EXPECT_TRUE(launcher.run_until([&] { return !launcher.events.empty(); }));
  EXPECT_EQ(launcher.events[0], (ControlEvent{ControlEvent::Kind::kCheckpoint, "saved step 40 in 0.3 s", 40, 0.3}));

  links[3]->link->set_goodbye({.code = 75, .agreed = true, .culprit = 2});
  links[3]->link->event({ControlEvent::Kind::kPreempted, "stopped", 41, 0});
  std::thread ends([&] { links[3]->link.reset(); });
  EXPECT_TRUE(launcher.run_until([&] { return launcher.gone.size() == 1; }));
  ends.join();
  EXPECT_EQ(launcher.gone[0].first, 3);
  EXPECT_EQ(launcher.gone[0].second.kind, LinkEnd::Kind::kGoodbye);
  EXPECT_EQ(launcher.gone[0].second.code, 75);
  EXPECT_TRUE(launcher.gone[0].second.agreed);
  EXPECT_EQ(launcher.gone[0].second.culprit, 2);
  EXPECT_EQ(launcher.events.back().kind, ControlEvent::Kind::kPreempted) << "what came before the goodbye arrived";
  EXPECT_EQ(launcher.server->joined(), 3);
  EXPECT_EQ(launcher.server->counts().bad_lines, 0);
}

TEST(Control, ReportsEachSecondAndAfterSteps) {
  Launcher launcher;
  TestLink idle(launcher, 0), fast(launcher, 1);
  std::atomic<bool> stop{false};
  std::thread trains([&] {
    for (std::int64_t step = 1; !stop; ++step) {
      fast.board.step_done(step, 1'000'000, 0.001, 0.001, 1, 1);
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  ASSERT_TRUE(launcher.run_until([&] { return launcher.reports[0] > 0 && launcher.reports[1] > 0; }));
  launcher.reports.clear();
  launcher.run(4);
  stop = true;
  trains.join();
  EXPECT_GE(launcher.reports[0], 2);
  EXPECT_LE(launcher.reports[0], 5);
  EXPECT_GE(launcher.reports[1], 8) << "a step is reported before the second is over";
  EXPECT_LE(launcher.reports[1], 41) << "at most 10 a second";
}

TEST(Control, TheLauncherAsks) {
  Launcher launcher;
  TestLink link(launcher, 0);
  EXPECT_FALSE(launcher.server->ask_stack(0)) << "has not joined";
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  EXPECT_TRUE(launcher.server->ask_stack(0));
  EXPECT_FALSE(launcher.server->ask_stack(1));
  // This thread is the one that made the link: its stack is asked for while it runs the launcher.
  EXPECT_TRUE(launcher.run_until([&] { return launcher.stacks.contains(0); }));
  EXPECT_THAT(launcher.stacks[0], AllOf(HasSubstr("thread main"), HasSubstr("#3 ")));
  EXPECT_EQ(launcher.server->ask_stop(), 1);
  EXPECT_TRUE(launcher.run_until([&] { return link.stops == 1; }));
  EXPECT_EQ(launcher.server->joined(), 1) << "the connection lives on";
}

TEST(Control, LeaveEndsTheProcess) {
  Launcher launcher;
  const auto child = start_rank_process(launcher, 0);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  EXPECT_EQ(launcher.server->ask_leave(), 1);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.gone.size() == 1; }));
  const int status = status_of(child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM);
}

TEST(Control, AKilledRankIsGoneWithinASecond) {
  Launcher launcher;
  const auto child = start_rank_process(launcher, 0);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.views.contains(0); }));
  kill(child, SIGKILL);
  const auto killed = Clock::now();
  ASSERT_TRUE(launcher.run_until([&] { return !launcher.gone.empty(); }));
  EXPECT_LT(seconds_since(killed), 1);
  EXPECT_EQ(launcher.gone[0].second.kind, LinkEnd::Kind::kClosed);
  status_of(child);
}

/// Its system answers for it: longer than the link's 4 s time-out, and it still has its connection.
TEST(Control, AStoppedRankIsNotGone) {
  Launcher launcher;
  const auto child = start_rank_process(launcher, 0);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.views.contains(0); }));
  kill(child, SIGSTOP);
  launcher.run(0.5);
  const int before = launcher.reports[0];
  EXPECT_TRUE(launcher.server->ask_stack(0));  // bytes on their way to it, too
  launcher.run(7);
  EXPECT_TRUE(launcher.gone.empty());
  EXPECT_LE(launcher.reports[0], before + 1) << "it was stopped";
  kill(child, SIGCONT);
  EXPECT_TRUE(launcher.run_until([&] { return launcher.reports[0] > before + 3; }));
  EXPECT_TRUE(launcher.gone.empty());
  kill(child, SIGKILL);
  status_of(child);
}

TEST(Control, ARankWhoseLauncherIsGoneEndsWith5) {
  auto launcher = std::make_unique<Launcher>();
  TestLink link(launcher->address(), launcher->token, rank_of_four(0), 30, 1);
  ASSERT_TRUE(launcher->run_until([&] { return launcher->server->joined() == 1; }));
  EXPECT_EQ(link.end_code, -1);
  launcher.reset();
  const auto lost = Clock::now();
  while (link.end_code == -1 && seconds_since(lost) < kSoon) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(link.end_code, 5);
}

TEST(Control, ARankThatNeverFindsItsLauncherEndsWith5) {
  auto launcher = std::make_unique<Launcher>();
  const auto address = launcher->address();
  launcher.reset();
  TestLink link(address, new_job_token(), rank_of_four(0), 1);
  const auto start = Clock::now();
  while (link.end_code == -1 && seconds_since(start) < kSoon) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(link.end_code, 5);
}

TEST(Control, ABrokenConnectionIsMadeAnew) {
  Launcher launcher;
  Relay relay(launcher.port());
  TestLink link(relay.address(), launcher.token, rank_of_four(0)), other(launcher, 1);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 2; }));
  relay.add("nonsense\n");
  ASSERT_TRUE(launcher.run_until([&] { return launcher.gone.size() == 1; }));
  EXPECT_EQ(launcher.gone[0].first, 0);
  EXPECT_EQ(launcher.gone[0].second.kind, LinkEnd::Kind::kBadLine);
  link.board.step_done(7, 10, 1, 1, 1, 1);
  EXPECT_TRUE(launcher.run_until([&] { return launcher.joined.size() == 3 && launcher.views[0].step == 7; }));
  relay.cut();
  ASSERT_TRUE(launcher.run_until([&] { return launcher.gone.size() == 2; }));
  EXPECT_EQ(launcher.gone[1].second.kind, LinkEnd::Kind::kClosed);
  EXPECT_TRUE(launcher.run_until([&] { return launcher.joined.size() == 4; }));
  EXPECT_EQ(link.end_code, -1);
  EXPECT_EQ(launcher.server->joined(), 2) << "the other rank was not disturbed";
}

TEST(Control, WhatComesWithTheWelcomeIsHeard) {
  Launcher launcher;
  Relay relay(launcher.port());
  relay.gather(milliseconds(200));
  TestLink link(relay.address(), launcher.token, rank_of_four(0));
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  launcher.server->ask_stop();
  EXPECT_TRUE(launcher.run_until([&] { return link.stops == 1; }));
}

TEST(Control, ALinkNeedsNoLauncherWithoutTheVariable) {
  unsetenv("TRIPTYCH_CONTROL");
  EXPECT_EQ(ControlLink::from_environment({}, {}), nullptr);
}

TEST(Control, ALinkRefusesWhatItCannotRead) {
  const ControlHandlers handlers{[] {}, [](int) {}};
  setenv("TRIPTYCH_JOB_TOKEN", "secret-and-wrong", 1);
  for (const char* bad : {"", "host", "host:", ":80", "host:0", "host:65536", "host:80x", "host:-1"}) {
    setenv("TRIPTYCH_CONTROL", bad, 1);
    EXPECT_THAT([&] { ControlLink::from_environment({}, handlers); },
                ThrowsMessage<ConfigError>(HasSubstr("is not host:port")))
        << bad;
  }
  setenv("TRIPTYCH_CONTROL", "127.0.0.1:80", 1);
  EXPECT_THAT([&] { ControlLink::from_environment({}, handlers); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("64 hexadecimal digits"), Not(HasSubstr("secret")))));
  unsetenv("TRIPTYCH_JOB_TOKEN");
  EXPECT_THROW(ControlLink::from_environment({}, handlers), ConfigError);
  unsetenv("TRIPTYCH_CONTROL");
}

TEST(Control, AServerRefusesAnAddressThatIsNotItsOwn) {
  boost::asio::io_context io;
  for (const char* bad : {"node1", "", "203.0.113.7"}) {
    ControlServerOptions options;
    options.address = bad;
    options.token = new_job_token();
    EXPECT_THROW(ControlServer(io, options, {}), ConfigError) << bad;
  }
}

// --- ranks that may not join

TEST(Control, ASecondRankOfTheSameNumberIsRefusedAndSaid) {
  Launcher launcher;
  TestLink first(launcher, 1);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  TestLink second(launcher.address(), launcher.token, rank_of_four(1), 1);
  ASSERT_TRUE(launcher.run_until([&] { return second.end_code != -1; }));
  EXPECT_EQ(second.end_code, 5);
  EXPECT_THAT(launcher.refused.front(),
              HasSubstr("rank 1 on node1 (process " + std::to_string(getpid()) + ") has joined already"));
  EXPECT_EQ(first.end_code, -1);
  EXPECT_TRUE(launcher.gone.empty());
  EXPECT_EQ(launcher.joined.size(), 1u);
}

TEST(Control, ARankWithAnotherProgramConfigurationOrSizeEndsWith2) {
  Launcher launcher;
  TestLink first(launcher, 0);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  auto program = rank_of_four(1), config = rank_of_four(1), size = rank_of_four(1);
  program.program = "other";
  config.config = "other";
  size.size = 5;
  for (const auto& [who, why] : {std::pair(program, "has another program (other) than rank 0 on node1"),
                                 std::pair(config, "has another configuration (other)"),
                                 std::pair(size, "is of a job of 5 ranks, this one has 4")}) {
    launcher.refused.clear();
    TestLink other(launcher.address(), launcher.token, who);
    EXPECT_TRUE(launcher.run_until([&] { return other.end_code != -1; }));
    EXPECT_EQ(other.end_code, 2);
    EXPECT_THAT(launcher.refused, ElementsAre(HasSubstr(why)));
  }
  EXPECT_EQ(launcher.server->joined(), 1);
}

TEST(Control, AForgedTokenIsRefused) {
  Launcher launcher;
  TestLink good(launcher, 0);
  TestLink forged(launcher.address(), new_job_token(), rank_of_four(1), 1);
  EXPECT_TRUE(launcher.run_until([&] { return forged.end_code == 5; }));
  EXPECT_GE(launcher.server->counts().bad_lines, 1);
  EXPECT_EQ(launcher.joined.size(), 1u);
  EXPECT_EQ(launcher.joined[0].rank, 0);
  EXPECT_TRUE(launcher.gone.empty());
}

/// Who sits at the launcher's address without the token commands nobody.
TEST(Control, AForgedLauncherIsNotObeyed) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto at = loopback(0);
  socklen_t size = sizeof at;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(listen(listener, 4), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size), 0);
  TestLink link("127.0.0.1:" + std::to_string(ntohs(at.sin_port)), new_job_token(), rank_of_four(0), 1);
  const auto start = Clock::now();
  int joins = 0;
  std::vector<int> held;  // closing one would take back what was sent
  while (link.end_code == -1 && seconds_since(start) < kSoon) {
    pollfd ready{listener, POLLIN, 0};
    if (poll(&ready, 1, 100) != 1) continue;
    const int fd = accept(listener, nullptr, nullptr);
    const auto nonce = new_nonce(), hello = hello_line(nonce);
    ControlWriter forger(ControlKeys::of(parse_job_token(new_job_token()), nonce, new_nonce()).to_rank);
    auto orders = forger.line(Welcome{});
    orders += forger.line(AskStop{});
    char join[4096];
    EXPECT_EQ(send(fd, hello.data(), hello.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello.size()));
    joins += recv(fd, join, sizeof join, 0) > 0;
    EXPECT_EQ(send(fd, orders.data(), orders.size(), MSG_NOSIGNAL), static_cast<ssize_t>(orders.size()));
    held.push_back(fd);
  }
  for (const int fd : held) close(fd);
  close(listener);
  EXPECT_GT(joins, 0) << "the rank did try to join";
  EXPECT_EQ(link.stops, 0);
  EXPECT_EQ(link.end_code, 5);
}

// --- lines that are not the rank's

TEST(Control, RecordedLinesServeNobody) {
  Launcher launcher;
  TestLink other(launcher, 3);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  RawClient replays(launcher.port());
  const auto nonce = read_hello(replays.line(launcher).value());
  const auto job = parse_job_token(launcher.token);
  const auto join = join_line(job, nonce, new_nonce(), rank_of_four(0));
  RawClient later(launcher.port());  // sends what it heard
  ASSERT_TRUE(later.line(launcher).has_value());
  later.send(join);
  EXPECT_TRUE(launcher.run_until([&] { return later.closed(); }));
  EXPECT_EQ(launcher.joined.size(), 1u);
  EXPECT_EQ(launcher.server->counts().bad_lines, 1);
  replays.send(join);  // control: on its own connection it is good
  EXPECT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 2; }));
}

TEST(Control, ALineThatIsNotItsOwnEndsOneConnection) {
  const auto report = [](RawRank& rank) { return rank.writer->line(ProgressBoard().view()); };
  const std::vector<std::pair<std::string, std::function<std::string(RawRank&)>>> cases = {
      {"repeated",
       [&](RawRank& rank) {
         const auto line = report(rank);
         return line + line;
       }},
      {"left out",
       [&](RawRank& rank) {
         report(rank);
         return report(rank);
       }},
      {"of the other direction", [&](RawRank& rank) { return ControlWriter(rank.keys->to_rank).line(AskStop{}); }},
      {"joins again", [&](RawRank& rank) { return rank.join; }},
      {"garbage", [&](RawRank&) { return std::string("\x00\xff\x80{}[[\n", 8); }},
      {"4 KiB without newline", [&](RawRank&) { return std::string(4096, 'x'); }},
  };
  for (const auto& [name, bytes] : cases) {
    SCOPED_TRACE(name);
    Launcher launcher;
    RawRank bad(launcher, 0);
    RawRank good(launcher, 1);
    bad.client.send(bytes(bad));
    EXPECT_TRUE(launcher.run_until([&] { return bad.client.closed(); }));
    EXPECT_EQ(launcher.server->counts().bad_lines, 1);
    ASSERT_EQ(launcher.gone.size(), 1u);
    EXPECT_EQ(launcher.gone[0].first, 0);
    EXPECT_EQ(launcher.gone[0].second.kind, LinkEnd::Kind::kBadLine);
    good.client.send(report(good));
    EXPECT_TRUE(launcher.run_until([&] { return launcher.reports[1] == 1; }));
  }
}

// --- strangers

TEST(Control, GarbageFromStrangersClosesTheirConnection) {
  Launcher launcher;
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(4096, 'x'), std::string("\n")}) {
    RawClient stranger(launcher.port());
    stranger.send(bytes);
    EXPECT_TRUE(launcher.run_until([&] { return stranger.closed(); }));
  }
  EXPECT_EQ(launcher.server->counts().bad_lines, 3);
  EXPECT_TRUE(launcher.joined.empty());
  EXPECT_TRUE(launcher.gone.empty());
}

/// A hundred that send a byte now and then: all are closed in time, ranks join meanwhile.
TEST(Control, SlowSendersAreClosed) {
  Launcher launcher(4, milliseconds(1500));
  std::vector<RawClient> slow;
  for (int i = 0; i < 100; ++i) slow.emplace_back(launcher.port());
  const auto start = Clock::now();
  TestLink rank(launcher, 0);
  std::size_t closed = 0;
  while (closed < slow.size() && seconds_since(start) < kSoon) {
    launcher.run(0.1);
    for (auto& client : slow) client.send("{");
    closed =
        static_cast<std::size_t>(std::count_if(slow.begin(), slow.end(), [](auto& client) { return client.closed(); }));
    EXPECT_LE(launcher.server->connections(), 4 + 64);
  }
  EXPECT_EQ(closed, slow.size());
  EXPECT_EQ(launcher.server->joined(), 1);
  const auto counts = launcher.server->counts();
  EXPECT_EQ(counts.crowded_out + counts.too_slow, 100);
  EXPECT_EQ(launcher.server->connections(), 1);
}

TEST(Control, TenThousandConnectionsCostABoundedNumberOfDescriptors) {
  Launcher launcher;
  TestLink rank(launcher, 0);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  const auto before = open_descriptors();
  std::size_t most = 0;
  std::vector<RawClient> held;
  for (int i = 0; i < 10'000; ++i) {
    held.emplace_back(launcher.port());
    ASSERT_TRUE(held.back().connected());
    while (launcher.io.poll_one()) {
    }
    if (held.size() < 200) continue;
    most = std::max(most, open_descriptors() - held.size());
    held.clear();
  }
  EXPECT_LE(most, before + 4 + 64 + 4);
  EXPECT_EQ(launcher.server->joined(), 1) << "the rank was not crowded out";
  const int reports = launcher.reports[0];
  EXPECT_TRUE(launcher.run_until([&] { return launcher.reports[0] > reports; }));
  EXPECT_TRUE(launcher.run_until([&] { return launcher.server->connections() == 1; }));
  EXPECT_GE(launcher.server->counts().accepted, 9'900);
  held.clear();
  EXPECT_LE(open_descriptors(), before + 4);
}

// --- sockets

TEST(Control, LinksAreWatched) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  watch_link(fd);
  const auto option = [&](int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    getsockopt(fd, level, name, &value, &size);
    return value;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPINTVL), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPCNT), 3);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 4000);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  close(fd);
}

TEST(Control, NoDescriptorIsInherited) {
  Launcher launcher;
  TestLink rank(launcher, 0);
  ASSERT_TRUE(launcher.run_until([&] { return launcher.server->joined() == 1; }));
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (fd <= 2 || !target.starts_with("socket:")) continue;
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC) << target;
  }
}

}  // namespace
}  // namespace triptych

// The live view over real sockets: what it refuses, byte by byte, what it shows, and how it defends its one thread.
#include "distributed/launcher/monitor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "core/base/atomic_file.h"
#include "core/base/clock.h"
#include "core/base/errors.h"
#include "distributed/launcher/monitor_page.h"

namespace triptych {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

MonitorState shown_state() {
  MonitorState state;
  state.run = "</script><script>alert(1)</script>";
  state.config = "a\\b \"c\"\nd \xff";
  state.state = "training";
  state.step = 17;
  state.total = 100;
  state.samples_per_s = 12.5;
  state.restarts = 2;
  state.loss = {{1, 5.5}, {17, 2.25}};
  state.ranks = {{0, "node1", "step", 17, 6.25, 0.75, 0.125, 0.5, RankState::kOk},
                 {1, "node\"2\\\n", "save", 16, 6.25, 0.5, 0, 7.5, RankState::kSilent}};
  state.checkpoints = {{10, 1.5}};
  state.events = {{"2026-11-22T08:09:50.123Z", "rank 1 is silent"}};
  return state;
}

/// A monitor on a thread of its own.
class MonitorThread {
 public:
  explicit MonitorThread(std::function<MonitorState()> state = shown_state)
      : monitor_(std::make_unique<Monitor>(io_, 0, std::move(state))), port_(monitor_->port()) {
    thread_ = std::thread([this] { io_.run(); });
  }
  ~MonitorThread() {
    // What remains are the handlers of what was closed: run ends by itself, or the test hangs.
    boost::asio::post(io_, [this] { monitor_.reset(); });
    thread_.join();
  }
  std::uint16_t port() const { return port_; }

 private:
  boost::asio::io_context io_;
  std::unique_ptr<Monitor> monitor_;
  std::uint16_t port_;
  std::thread thread_;
};

/// One connection, as a stranger would make it.
class WebClient {
 public:
  explicit WebClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      throw std::runtime_error("connect failed");
    }
  }
  bool send(const std::string& bytes) {
    return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  /// What comes until the other side closes, or until `enough` says so; 20 s at most.
  std::string receive(const std::function<bool(const std::string&)>& enough = nullptr) {
    std::string all;
    const auto begin = Clock::now();
    while (seconds_since(begin) < 20 && !(enough && enough(all))) {
      pollfd wait{socket_.get(), POLLIN, 0};
      if (::poll(&wait, 1, 200) <= 0) continue;
      char bytes[4096];
      const auto got = ::recv(socket_.get(), bytes, sizeof(bytes), 0);
      closed_ = got <= 0;
      if (closed_) break;
      all.append(bytes, static_cast<std::size_t>(got));
    }
    return all;
  }
  bool closed() const { return closed_; }

 private:
  FileHandle socket_;
  bool closed_ = false;
};

struct MonitorAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string body;
};

/// Takes the first answer off `bytes`. `with_body`: false for an answer to HEAD.
MonitorAnswer take_answer(std::string& bytes, bool with_body = true) {
  MonitorAnswer answer;
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string::npos || bytes.rfind("HTTP/1.1 ", 0) != 0) return answer;
  answer.status = std::stoi(bytes.substr(9, 3));
  std::istringstream lines(bytes.substr(0, end));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    if (line.back() == '\r') line.pop_back();
    answer.headers[line.substr(0, line.find(':'))] = line.substr(line.find(':') + 2);
  }
  const auto length = with_body ? std::stoul(answer.headers.at("Content-Length")) : 0;
  answer.body = bytes.substr(end + 4, length);
  bytes.erase(0, end + 4 + length);
  return answer;
}

std::string with_host(const std::string& first_line, std::uint16_t port, const std::string& more = "") {
  return first_line + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) + "\r\n" + more + "\r\n";
}

/// One request on one connection that the server closes.
MonitorAnswer ask(std::uint16_t port, const std::string& request, bool with_body = true) {
  WebClient client(port);
  client.send(request);
  auto bytes = client.receive();
  EXPECT_TRUE(client.closed());
  return take_answer(bytes, with_body);
}

MonitorAnswer get_path(std::uint16_t port, const std::string& path) {
  return ask(port, with_host("GET " + path, port, "Connection: close\r\n"));
}

TEST(Monitor, ThePageIsWholeAndLocked) {
  const MonitorThread monitor;
  const auto page = get_path(monitor.port(), "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.at("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(page.headers.at("Cache-Control"), "no-store");
  EXPECT_EQ(page.headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(page.headers.at("Content-Security-Policy"), monitor_page_policy());
  EXPECT_THAT(monitor_page_policy(), StartsWith("default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(monitor_page_policy(), Not(HasSubstr("unsafe")));
  for (const auto& [name, value] : page.headers) EXPECT_THAT(name, Not(StartsWith("Access-Control")));
  EXPECT_EQ(page.body, monitor_page());
  const auto first = page.body.find("//www.w3.org/2000/svg");  // the name of a namespace, and no other address
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(page.body.find("http"), first - 5);
  EXPECT_EQ(page.body.find("http", first), std::string::npos);
  EXPECT_THAT(page.body, Not(HasSubstr("innerHTML")));
}

TEST(Monitor, StateIsJson) {
  const MonitorThread monitor;
  const auto answer = get_path(monitor.port(), "/state.json");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("Content-Type"), "application/json");
  const auto json = nlohmann::json::parse(answer.body);
  EXPECT_EQ(json["run"], shown_state().run);
  EXPECT_EQ(json["config"], "a\\b \"c\"\nd \xef\xbf\xbd");
  EXPECT_EQ(json["step"], 17);
  EXPECT_TRUE(json["goodput"].is_null());
  EXPECT_EQ(json["loss"], nlohmann::json::parse("[[1,5.5],[17,2.25]]"));
  EXPECT_EQ(json["ranks"][1]["state"], "silent");
  EXPECT_EQ(json["checkpoints"][0]["step"], 10);
  EXPECT_EQ(json["events"][0]["text"], "rank 1 is silent");
}

/// Reads text exposition format 0.0.4 strictly; gives sample to value, and every complaint.
std::map<std::string, double> read_exposition(const std::string& text, std::vector<std::string>& complaints) {
  static const std::regex sample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+))re");
  std::map<std::string, double> values;
  std::map<std::string, std::string> types;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    std::istringstream words(line);
    std::string hash, keyword, name, type;
    if (line.rfind("# ", 0) == 0) {
      words >> hash >> keyword >> name >> type;
      if (keyword == "TYPE" && !types.emplace(name, type).second) complaints.push_back("twice: " + line);
      if (keyword == "TYPE" && type != "gauge" && type != "counter") complaints.push_back("type: " + line);
    } else if (!std::regex_match(line, match, sample)) {
      complaints.push_back("no sample: " + line);
    } else {
      if (!types.contains(match[1])) complaints.push_back("without type: " + line);
      if (!values.emplace(match[1].str() + match[2].str(), std::stod(match[3])).second) {
        complaints.push_back("twice: " + line);
      }
    }
  }
  if (text.empty() || text.back() != '\n') complaints.push_back("no last line feed");
  return values;
}

TEST(Monitor, MetricsArePrometheusText) {
  const MonitorThread monitor;
  const auto answer = get_path(monitor.port(), "/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  std::vector<std::string> complaints;
  const auto values = read_exposition(answer.body, complaints);
  EXPECT_THAT(complaints, testing::IsEmpty());
  for (const auto& [name, value] : values) EXPECT_THAT(name, StartsWith("triptych_"));
  EXPECT_EQ(values.at("triptych_step"), 17);
  EXPECT_EQ(values.at("triptych_loss"), 2.25);
  EXPECT_EQ(values.at("triptych_restarts_total"), 2);
  EXPECT_EQ(values.at(R"(triptych_rank_busy_ratio{rank="0",host="node1"})"), 0.75);
  EXPECT_EQ(values.at(R"(triptych_rank_report_age_seconds{rank="1",host="node\"2\\\n"})"), 7.5);
  EXPECT_EQ(values.at(R"(triptych_rank_state{rank="1",host="node\"2\\\n",state="silent"})"), 1);
  EXPECT_EQ(values.at(R"(triptych_rank_state{rank="1",host="node\"2\\\n",state="ok"})"), 0);
  EXPECT_FALSE(values.contains("triptych_goodput_ratio")) << "not known";
  EXPECT_THAT(answer.body, HasSubstr(R"(config="a\\b \"c\"\nd )"
                                     "\xef\xbf\xbd\""));
}

TEST(Monitor, TheCheckerOfMetricsFindsWhatIsWrong) {
  for (const char* bad : {"a 1", "# TYPE a gauge\na{b=\"c\nd\"} 1\n", "# TYPE a gauge\na{b=\"c\"d\"} 1\n",
                          "# TYPE a gauge\na{b=\"\\x\"} 1\n", "a 1\n", "# TYPE a gauge\na 1\na 1\n"}) {
    std::vector<std::string> complaints;
    read_exposition(bad, complaints);
    EXPECT_FALSE(complaints.empty()) << bad;
  }
}

TEST(Monitor, MetricsOfAnEmptyStateAndOfNotANumber) {
  MonitorState state;
  std::vector<std::string> complaints;
  EXPECT_EQ(read_exposition(monitor_metrics(state), complaints).at("triptych_step"), 0);
  state = shown_state();
  state.loss.back().loss = state.ranks[0].busy_share = std::nan("");
  EXPECT_FALSE(read_exposition(monitor_metrics(state), complaints).contains("triptych_loss"));
  EXPECT_THAT(complaints, testing::IsEmpty());
  EXPECT_TRUE(nlohmann::json::parse(monitor_json(state))["loss"][1][1].is_null());
}

TEST(Monitor, HeadIsGetWithoutABody) {
  const MonitorThread monitor;
  for (const char* path : {"/", "/metrics", "/state.json"}) {
    WebClient client(monitor.port());
    client.send(with_host(std::string("HEAD ") + path, monitor.port(), "Connection: close\r\n"));
    auto bytes = client.receive();
    const auto answer = take_answer(bytes, false);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers.at("Content-Length"), get_path(monitor.port(), path).headers.at("Content-Length"));
    EXPECT_EQ(bytes, "");
  }
}

struct RefusedCase {
  int status;
  std::string request;  ///< PORT stands for the port
};

std::vector<RefusedCase> refused_cases() {
  const std::string host = "Host: 127.0.0.1:PORT\r\n", end = "\r\n";
  std::vector<RefusedCase> cases;
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND", "X"}) {
    cases.push_back({405, std::string(method) + " / HTTP/1.1\r\n" + host + end});
  }
  for (const char* name :
       {"evil.example", "evil.example:PORT", "127.0.0.1:1", "localhost:PORT.evil.example", "[::1]:PORT",
        "127.0.0.1.evil.example", "localhost.", "", "0.0.0.0:PORT", "user@127.0.0.1:PORT"}) {
    cases.push_back({421, std::string("GET / HTTP/1.1\r\nHost: ") + name + "\r\n\r\n"});
  }
  for (const char* origin : {"http://evil.example", "null", "https://localhost:PORT", "http://localhost",
                             "http://127.0.0.1:1", "http://127.0.0.1:PORT.evil.example", ""}) {
    cases.push_back({403, "GET /state.json HTTP/1.1\r\n" + host + "Origin: " + origin + "\r\n\r\n"});
  }
  cases.push_back(
      {403, "GET / HTTP/1.1\r\n" + host + "Origin: http://127.0.0.1:PORT\r\nOrigin: http://evil.example\r\n\r\n"});
  cases.push_back({400, "GET / HTTP/1.1\r\n\r\n"});
  cases.push_back({400, "GET / HTTP/1.1\r\n" + host + host + end});
  cases.push_back({400, "GET / HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n"});
  cases.push_back({413, "GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello"});
  cases.push_back({413, "GET / HTTP/1.1\r\n" + host + "Content-Length: 99999999999\r\n\r\n"});
  cases.push_back({413, "GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"});
  cases.push_back(
      {400, "GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET"});
  cases.push_back({400, "GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"});
  cases.push_back({400, "GET / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n"});
  cases.push_back({400, "GET / HTTP/1.1\r\n" + host + "a b: c\r\n\r\n"});
  cases.push_back({400, "GET / HTTP/1.1\r\n" + host + std::string("a: b\0c\r\n\r\n", 10)});
  cases.push_back({400, "\x16\x03\x01\x02garbage\r\n\r\n"});
  cases.push_back({400, "GET /\r\n\r\n"});
  cases.push_back({400, "GET  / HTTP/1.1\r\n" + host + end});
  cases.push_back({400, "GET / HTTP/9.9\r\n" + host + end});
  cases.push_back({400, "GET / HTTP/1.7\r\n" + host + end});
  cases.push_back({414, "GET /" + std::string(257, 'a') + " HTTP/1.1\r\n" + host + end});
  cases.push_back({431, "GET / HTTP/1.1\r\n" + host + "X: " + std::string(9000, 'a') + "\r\n\r\n"});
  cases.push_back({431, "GET / HTTP/1.1\r\n" + host + "X: " + std::string(1 << 20, 'a') + "\r\n\r\n"});
  cases.push_back({431, "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n" + host + end});
  for (const char* path : {"/../../etc/passwd", "/metrics/", "/state.json?x=1", "/%2e%2e/", "*",
                           "http://127.0.0.1:PORT/", "//", "/index.html", "/favicon.ico", "/metrics%00"}) {
    cases.push_back({404, std::string("GET ") + path + " HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n"});
  }
  return cases;
}

TEST(Monitor, EveryRefusalByItsBytes) {
  const MonitorThread monitor;
  const auto number = std::to_string(monitor.port());
  for (auto [status, request] : refused_cases()) {
    for (auto at = request.find("PORT"); at != std::string::npos; at = request.find("PORT"))
      request.replace(at, 4, number);
    const auto answer = ask(monitor.port(), request);
    EXPECT_EQ(answer.status, status) << request.substr(0, 120);
    EXPECT_THAT(answer.body, Not(HasSubstr("evil"))) << "nothing of a request is said again";
    if (answer.status == 0) continue;
    EXPECT_EQ(answer.headers.at("X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(answer.headers.contains("Allow"), status == 405);
  }
  EXPECT_EQ(get_path(monitor.port(), "/").status, 200) << "and goes on";
}

TEST(Monitor, ItsOwnNamesAndOriginsAreServed) {
  const MonitorThread monitor;
  const auto port = ":" + std::to_string(monitor.port());
  for (const std::string host : {"localhost", "127.0.0.1"}) {
    for (const auto& named : {host, host + port}) {
      EXPECT_EQ(ask(monitor.port(), "GET / HTTP/1.0\r\nHost: " + named + "\r\n\r\n").status, 200) << named;
    }
    EXPECT_EQ(ask(monitor.port(), with_host("GET /state.json", monitor.port(),
                                            "Connection: close\r\nOrigin: http://" + host + port + "\r\n"))
                  .status,
              200);
  }
}

TEST(Monitor, OneConnectionServesManyRequestsAlsoPipelined) {
  const MonitorThread monitor;
  WebClient client(monitor.port());
  for (int i = 0; i < 3; ++i) {
    client.send(with_host("GET /metrics", monitor.port()));
    const auto whole = [](std::string bytes) { return take_answer(bytes).status == 200 && bytes.empty(); };
    const auto until_whole = [&](const std::string& bytes) { return bytes.size() > 2000 && whole(bytes); };
    auto bytes = client.receive(until_whole);
    EXPECT_EQ(take_answer(bytes).status, 200);
    EXPECT_FALSE(client.closed());
  }
  std::string many;
  for (int i = 0; i < 20; ++i) many += with_host(i % 2 ? "GET /metrics" : "GET /none", monitor.port());
  client.send(many + with_host("POST /", monitor.port()) + with_host("GET /", monitor.port()));
  auto bytes = client.receive();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(take_answer(bytes).status, i % 2 ? 200 : 404) << i;
  EXPECT_EQ(take_answer(bytes).status, 405);
  EXPECT_EQ(bytes, "") << "what follows a refusal is not served";
  EXPECT_TRUE(client.closed());
}

TEST(Monitor, ARequestMayComeByteByByte) {
  const MonitorThread monitor;
  WebClient client(monitor.port());
  for (const char c : with_host("GET /metrics", monitor.port(), "Connection: close\r\n"))
    client.send(std::string(1, c));
  auto bytes = client.receive();
  EXPECT_EQ(take_answer(bytes).status, 200);
}

TEST(Monitor, AHundredSlowClientsAreClosedInTime) {
  const MonitorThread monitor;
  const auto begin = Clock::now();
  std::vector<std::unique_ptr<WebClient>> slow;
  for (int i = 0; i < 100; ++i) {
    slow.push_back(std::make_unique<WebClient>(monitor.port()));
    slow.back()->send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ");
  }
  // A byte now and then does not prolong a life.
  for (int i = 0; i < 20; ++i) {
    for (auto& client : slow) client->send("a");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  for (auto& client : slow) {
    EXPECT_EQ(client->receive(), "");
    EXPECT_TRUE(client->closed());
  }
  EXPECT_LT(seconds_since(begin), 15) << "5 s each, all at the same time";
  EXPECT_EQ(get_path(monitor.port(), "/").status, 200);
}

TEST(Monitor, ThirtyTwoConnectionsAtMost) {
  const MonitorThread monitor;
  std::vector<std::unique_ptr<WebClient>> held;
  for (int i = 0; i < 32; ++i) {
    held.push_back(std::make_unique<WebClient>(monitor.port()));
    held.back()->send(with_host("GET /none", monitor.port()));
    EXPECT_THAT(held.back()->receive([](const auto& bytes) { return bytes.find("/metrics\n") != std::string::npos; }),
                HasSubstr(" 404 "));
  }
  WebClient one_more(monitor.port());
  one_more.send(with_host("GET /", monitor.port()));
  EXPECT_EQ(one_more.receive(), "");
  EXPECT_TRUE(one_more.closed());
  held.pop_back();
  std::string bytes;
  for (int i = 0; i < 100 && bytes.empty(); ++i) {  // until the server has seen that one left
    WebClient next(monitor.port());
    next.send(with_host("GET /", monitor.port(), "Connection: close\r\n"));
    bytes = next.receive();
  }
  EXPECT_EQ(take_answer(bytes).status, 200);
}

TEST(Monitor, AClientThatReadsNothingHoldsNobodyUp) {
  const MonitorThread monitor([] {
    MonitorState state;
    state.ranks.resize(20000);  // some MB of answer
    return state;
  });
  WebClient deaf(monitor.port());
  deaf.send(with_host("GET /state.json", monitor.port()));
  EXPECT_EQ(get_path(monitor.port(), "/").status, 200);
}

TEST(Monitor, AStateThatThrowsIs500) {
  const MonitorThread monitor([]() -> MonitorState { throw std::runtime_error("no state yet"); });
  const auto answer = get_path(monitor.port(), "/metrics");
  EXPECT_EQ(answer.status, 500);
  EXPECT_THAT(answer.body, HasSubstr("no state yet"));
  EXPECT_EQ(get_path(monitor.port(), "/").status, 200);
}

TEST(Monitor, APortThatIsTakenIsAConfigError) {
  const MonitorThread monitor;
  boost::asio::io_context io;
  try {
    const Monitor second(io, monitor.port(), shown_state);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("127.0.0.1:" + std::to_string(monitor.port())));
  }
}

TEST(Monitor, ListensOnLoopbackOnlyAndNoChildInheritsIt) {
  const MonitorThread monitor;
  const WebClient client(monitor.port());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  int found = 0;
  for (int fd = 0; fd < 256; ++fd) {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sin_family != AF_INET) continue;
    if (ntohs(address.sin_port) != monitor.port()) continue;
    ++found;
    EXPECT_EQ(ntohl(address.sin_addr.s_addr), INADDR_LOOPBACK);
    EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
  EXPECT_EQ(found, 2) << "the listener and one connection";
  const FileHandle six(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(monitor.port());
  address.sin6_addr = in6addr_loopback;
  EXPECT_NE(::connect(six.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
}

TEST(LossHistory, IsBoundedAndKeepsTheShape) {
  LossHistory history(100);
  for (int step = 1; step <= 100000; ++step) history.add(step, step);
  const auto points = history.points();
  EXPECT_LE(points.size(), 101u);
  EXPECT_GE(points.size(), 50u);
  EXPECT_EQ(points.front().step, 1);
  EXPECT_EQ(points.back().step, 100000);
  for (std::size_t i = 1; i + 1 < points.size(); ++i) {
    EXPECT_EQ(points[i].step - points[i - 1].step, points[1].step - points[0].step);
    EXPECT_EQ(points[i].loss, static_cast<double>(points[i].step));
  }
}

TEST(LossHistory, ARestartDropsWhatIsDoneAgain) {
  LossHistory history;
  EXPECT_TRUE(history.points().empty());
  for (int step = 1; step <= 10; ++step) history.add(step, 1);
  history.add(6, 2);
  const auto points = history.points();
  ASSERT_EQ(points.size(), 6u);
  EXPECT_EQ(points.back().step, 6);
  EXPECT_EQ(points.back().loss, 2);
}

}  // namespace
}  // namespace triptych

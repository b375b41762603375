// One listener, short sessions. What a request is answered with is decided in reply_to, top to bottom.
#include "distributed/launcher/monitor.h"

#include <fcntl.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "core/base/errors.h"
#include "distributed/launcher/monitor_page.h"

namespace triptych {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
using MonitorParser = http::request_parser<http::empty_body>;
using MonitorReply = http::response<http::string_body>;
using HttpStatus = http::status;

constexpr std::size_t kMostConnections = 32;
constexpr std::uint32_t kMostHeaderBytes = 8 * 1024;
constexpr std::size_t kMostTargetBytes = 256;
constexpr auto kRequestTime = std::chrono::seconds(5);
constexpr auto kLingerTime = std::chrono::seconds(1);

std::string_view bytes_of(beast::string_view text) {
  return {text.data(), text.size()};
}

/// Children of the launcher must not keep its port open.
void close_on_exec(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

MonitorReply reply_with(HttpStatus code, std::string body, std::string_view type = "text/plain; charset=utf-8") {
  MonitorReply made(code, 11);
  made.body() = std::move(body);
  made.set(http::field::content_type, beast::string_view(type.data(), type.size()));
  return made;
}

/// What is wrong with the form of a request, if anything: before anybody looks at what it wants.
std::optional<MonitorReply> refuse_form(const MonitorParser& parser, std::uint16_t port) {
  const auto& request = parser.get();
  const auto number = ":" + std::to_string(port);
  if (request.count(http::field::host) != 1) return reply_with(HttpStatus::bad_request, "one Host, please\n");
  std::set<std::string, std::less<>> hosts, origins;
  for (const std::string name : {"localhost", "127.0.0.1"}) {
    hosts.insert({name, name + number});
    origins.insert("http://" + name + (port == 80 ? "" : number));
  }
  if (!hosts.contains(bytes_of(request[http::field::host]))) {
    return reply_with(HttpStatus::misdirected_request, "this is localhost or 127.0.0.1 only\n");
  }
  const auto [first, last] = request.equal_range(http::field::origin);
  for (auto field = first; field != last; ++field) {
    if (!origins.contains(bytes_of(field->value()))) return reply_with(HttpStatus::forbidden, "not for other pages\n");
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    auto refusal = reply_with(HttpStatus::method_not_allowed, "only GET and HEAD\n");
    refusal.set(http::field::allow, "GET, HEAD");
    return refusal;
  }
  if (request.count(http::field::transfer_encoding) > 0 && request.count(http::field::content_length) > 0) {
    return reply_with(HttpStatus::bad_request, "two lengths\n");
  }
  if (!parser.is_done()) return reply_with(HttpStatus::payload_too_large, "no body, please\n");
  if (request.target().size() > kMostTargetBytes) return reply_with(HttpStatus::uri_too_long, "no such long path\n");
  return std::nullopt;
}

MonitorReply reply_to(const MonitorParser& parser, std::uint16_t port, const std::function<MonitorState()>& state) {
  if (auto refusal = refuse_form(parser, port)) return std::move(*refusal);
  const auto path = bytes_of(parser.get().target());
  try {
    if (path == "/") return reply_with(HttpStatus::ok, monitor_page(), "text/html; charset=utf-8");
    if (path == "/state.json") return reply_with(HttpStatus::ok, monitor_json(state()), "application/json");
    if (path == "/metrics") {
      return reply_with(HttpStatus::ok, monitor_metrics(state()), "text/plain; version=0.0.4; charset=utf-8");
    }
  } catch (const std::exception& error) {
    return reply_with(HttpStatus::internal_server_error,
                      std::string("the state cannot be told: ") + error.what() + "\n");
  }
  return reply_with(HttpStatus::not_found, "there is /, /state.json and /metrics\n");
}

void protect(MonitorReply& made) {
  made.set(http::field::cache_control, "no-store");
  made.set("Content-Security-Policy", monitor_page_policy());
  made.set("X-Content-Type-Options", "nosniff");
  made.set("Referrer-Policy", "no-referrer");
  made.set("Cross-Origin-Resource-Policy", "same-origin");
}

}  // namespace

/// Listens, and knows the sessions that live. Sessions hold it, handlers hold sessions.
class Monitor::Server : public std::enable_shared_from_this<Monitor::Server> {
 public:
  Server(asio::io_context& io, std::uint16_t wanted, std::function<MonitorState()> source)
      : acceptor_(io), retry_(io), state_(std::move(source)) {
    try {
      acceptor_.open(Tcp::v4());
      close_on_exec(acceptor_.native_handle());
      acceptor_.set_option(Tcp::acceptor::reuse_address(true));
      acceptor_.bind({asio::ip::address_v4::loopback(), wanted});
      acceptor_.listen();
      port_ = acceptor_.local_endpoint().port();
    } catch (const boost::system::system_error& error) {
      throw ConfigError("the live view cannot listen on 127.0.0.1:" + std::to_string(wanted) + ": " +
                        error.code().message() + "; choose another port, or 0 for any that is free");
    }
  }
  void accept();
  void stop();
  std::uint16_t port() const { return port_; }

 private:
  class Session;
  void take(Tcp::socket socket);

  Tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  std::function<MonitorState()> state_;
  std::uint16_t port_ = 0;
  std::set<Session*> sessions_;
};

class Monitor::Server::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Tcp::socket socket, std::shared_ptr<Server> server) : stream_(std::move(socket)), server_(std::move(server)) {
    server_->sessions_.insert(this);
  }
  ~Session() { server_->sessions_.erase(this); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// One deadline for the whole header: a byte now and then does not move it.
  void read() {
    parser_.emplace();
    parser_->header_limit(kMostHeaderBytes);
    stream_.expires_after(kRequestTime);
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](error_code error, std::size_t) { self->on_read(error); });
  }
  void close() {
    error_code ignored;
    stream_.socket().close(ignored);
  }

 private:
  void on_read(error_code error) {
    const auto& http_errors = http::make_error_code(http::error::bad_version).category();
    if (error == http::error::end_of_stream || error == http::error::partial_message) return;
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return write(reply_with(HttpStatus::request_header_fields_too_large, "at most 8 KiB of header\n"));
    }
    if (error == http::error::body_limit) return write(reply_with(HttpStatus::payload_too_large, "no body, please\n"));
    if (error && error.category() == http_errors) return write(reply_with(HttpStatus::bad_request, "not HTTP/1.1\n"));
    if (error) return;  // timed out, reset or closed
    write(reply_to(*parser_, server_->port_, server_->state_));
  }

  void write(MonitorReply made) {
    reply_ = std::move(made);
    protect(reply_);
    const bool understood = reply_.result() == HttpStatus::ok || reply_.result() == HttpStatus::not_found;
    reply_.keep_alive(understood && parser_->keep_alive());
    reply_.content_length(reply_.body().size());
    if (parser_->get().method() == http::verb::head) reply_.body().clear();
    stream_.expires_after(kRequestTime);
    http::async_write(stream_, reply_, [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return;
      if (self->reply_.keep_alive()) {
        self->read();
      } else {
        self->linger();
      }
    });
  }

  /// Reads what the other side still sends: closing before would reset the connection, and with it the answer.
  void linger() {
    error_code ignored;
    stream_.socket().shutdown(Tcp::socket::shutdown_send, ignored);
    stream_.expires_after(kLingerTime);
    drain();
  }
  void drain() {
    stream_.async_read_some(asio::buffer(scratch_), [self = shared_from_this()](error_code error, std::size_t) {
      if (!error) self->drain();
    });
  }

  beast::tcp_stream stream_;
  std::shared_ptr<Server> server_;
  beast::flat_buffer buffer_{4 * kMostHeaderBytes};
  std::optional<MonitorParser> parser_;
  MonitorReply reply_;
  std::array<char, 4096> scratch_{};
};

void Monitor::Server::accept() {
  acceptor_.async_accept([self = shared_from_this()](error_code error, Tcp::socket socket) {
    if (!self->acceptor_.is_open()) return;
    if (!error) {
      self->take(std::move(socket));
      return self->accept();
    }
    // No descriptors left, or the like: again when some may be free.
    self->retry_.expires_after(std::chrono::milliseconds(200));
    self->retry_.async_wait([self](error_code stopped) {
      if (!stopped) self->accept();
    });
  });
}

void Monitor::Server::take(Tcp::socket socket) {
  close_on_exec(socket.native_handle());
  if (sessions_.size() >= kMostConnections) return;  // closes it
  std::make_shared<Session>(std::move(socket), shared_from_this())->read();
}

void Monitor::Server::stop() {
  error_code ignored;
  acceptor_.close(ignored);
  retry_.cancel();
  for (auto* session : sessions_) session->close();
}

Monitor::Monitor(asio::io_context& io, std::uint16_t port, std::function<MonitorState()> state)
    : server_(std::make_shared<Server>(io, port, std::move(state))) {
  server_->accept();
}

Monitor::~Monitor() {
  server_->stop();
}

std::uint16_t Monitor::port() const {
  return server_->port();
}

std::string Monitor::url() const {
  return "http://127.0.0.1:" + std::to_string(port()) + "/";
}

}  // namespace triptych

#include "distributed/launcher/control_server.h"

#include <fcntl.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <system_error>

#include "core/base/errors.h"
#include "distributed/launcher/control_socket.h"

namespace triptych {
namespace {

using boost::asio::ip::tcp;
using Failure = boost::system::error_code;

constexpr std::size_t kStrangers = 64;
constexpr std::size_t kUnreadRequests = 64;
constexpr std::size_t kStackLimit = 64 << 10;
constexpr auto kAcceptAgain = std::chrono::milliseconds(100);

/// The system does not answer there, as opposed to: it says that the process is gone.
bool is_cut(const Failure& failure) {
  return failure == boost::asio::error::timed_out || failure == boost::asio::error::host_unreachable ||
         failure == boost::asio::error::network_unreachable || failure == boost::asio::error::network_down;
}

std::string described(const RankIdentity& who) {
  return "rank " + std::to_string(who.rank) + " on " + who.host + " (process " + std::to_string(who.pid) + ")";
}

/// A copy is called: who is called may destroy the server, and the callbacks with it.
template <class Callback, class... Arguments>
void call(Callback callback, const Arguments&... arguments) {
  if (callback) callback(arguments...);
}

}  // namespace

struct ControlServer::Impl : std::enable_shared_from_this<Impl> {
  boost::asio::io_context& io;
  const ControlServerOptions options;
  ControlCallbacks callbacks;
  const ControlKey job;
  tcp::acceptor acceptor;
  boost::asio::steady_timer accept_again;
  std::list<std::shared_ptr<Session>> strangers;  // not joined, the oldest first
  std::map<int, std::shared_ptr<Session>> ranks;
  std::optional<RankIdentity> first;  // whose program and configuration all have
  ControlCounts counts;
  bool over = false;

  Impl(boost::asio::io_context& the_io, ControlServerOptions the_options, ControlCallbacks the_callbacks);
  void listen();
  void accept();
  void take(tcp::socket socket);
  std::optional<Refusal> objection(const RankIdentity& who) const;
  int ask_all(const LauncherMessage& message);
};

/// One connection. It lives as long as something is pending on its socket; `end` makes that soon.
struct ControlServer::Session : std::enable_shared_from_this<Session> {
  std::shared_ptr<Impl> server;
  tcp::socket socket;
  boost::asio::steady_timer deadline;
  const std::string nonce = new_nonce();
  ControlLines lines;
  std::optional<RankIdentity> who;  // once joined
  std::optional<ControlReader> reader;
  std::optional<ControlWriter> writer;
  std::deque<std::string> unsent;
  std::string stacks;
  bool ended = false, last_line = false;

  Session(std::shared_ptr<Impl> the_server, tcp::socket the_socket)
      : server(std::move(the_server)), socket(std::move(the_socket)), deadline(server->io) {}

  void start();
  void read();
  void on_bytes(const Failure& failure, std::size_t bytes);
  void on_line(std::string_view line);
  void join(const JoinRequest& request);
  void refuse(const JoinRequest& request, const Refusal& refusal);
  void on_message(const RankMessage& message);
  void on_stack_piece(const StackPiece& piece);
  bool ask(const LauncherMessage& message);
  void send(std::string line);
  void write();
  void end(LinkEnd how = {});
};

void ControlServer::Session::start() {
  send(hello_line(nonce));
  deadline.expires_after(server->options.join_within);
  deadline.async_wait([self = shared_from_this()](const Failure& failure) {
    if (failure || self->ended || self->who) return;
    ++self->server->counts.too_slow;
    self->end();
  });
  read();
}

void ControlServer::Session::read() {
  const auto room = lines.room();
  if (room.empty()) {
    ++server->counts.bad_lines;
    end({.kind = LinkEnd::Kind::kBadLine});
    return;
  }
  socket.async_read_some(
      boost::asio::buffer(room.data(), room.size()),
      [self = shared_from_this()](const Failure& failure, std::size_t bytes) { self->on_bytes(failure, bytes); });
}

void ControlServer::Session::on_bytes(const Failure& failure, std::size_t bytes) {
  if (ended) return;
  if (failure) {
    end({.kind = is_cut(failure) ? LinkEnd::Kind::kTimedOut : LinkEnd::Kind::kClosed});
    return;
  }
  lines.filled(bytes);
  try {
    for (auto line = lines.next(); line && !ended && !last_line; line = lines.next()) on_line(*line);
  } catch (const PeerError&) {
    ++server->counts.bad_lines;
    end({.kind = LinkEnd::Kind::kBadLine});
  }
  if (!ended) read();
}

void ControlServer::Session::on_line(std::string_view line) {
  if (reader) {
    on_message(reader->rank_message(line));
    return;
  }
  const auto request = read_join(server->job, nonce, line);
  const auto keys = ControlKeys::of(server->job, nonce, request.rank_nonce);
  reader.emplace(keys.to_launcher);
  writer.emplace(keys.to_rank);
  if (const auto refusal = server->objection(request.identity)) {
    refuse(request, *refusal);
  } else {
    join(request);
  }
}

void ControlServer::Session::join(const JoinRequest& request) {
  const auto self = shared_from_this();
  server->strangers.remove(self);
  server->ranks[request.identity.rank] = self;
  if (!server->first) server->first = request.identity;
  who = request.identity;
  deadline.cancel();
  send(writer->line(Welcome{}));
  call(server->callbacks.on_join, *who);
}

/// The connection stays a stranger's: the refusal is its last line, and the deadline closes it if that is not read.
void ControlServer::Session::refuse(const JoinRequest& request, const Refusal& refusal) {
  ++server->counts.refused;
  last_line = true;
  send(writer->line(refusal));
  call(server->callbacks.on_refused, request.identity, refusal.text, refusal.final);
}

void ControlServer::Session::on_message(const RankMessage& message) {
  const int rank = who->rank;
  if (const auto* view = std::get_if<ProgressBoard::View>(&message)) {
    call(server->callbacks.on_report, rank, *view, Clock::now());
  } else if (const auto* event = std::get_if<ControlEvent>(&message)) {
    call(server->callbacks.on_event, rank, *event);
  } else if (const auto* piece = std::get_if<StackPiece>(&message)) {
    on_stack_piece(*piece);
  } else if (const auto* goodbye = std::get_if<Goodbye>(&message)) {
    end({LinkEnd::Kind::kGoodbye, goodbye->code, goodbye->agreed, goodbye->culprit});
  }
}

void ControlServer::Session::on_stack_piece(const StackPiece& piece) {
  if (stacks.size() + piece.text.size() <= kStackLimit) stacks += piece.text;
  if (!piece.last) return;
  const auto whole = std::move(stacks);
  stacks.clear();
  call(server->callbacks.on_stack, who->rank, whole);
}

/// A line that is numbered must be sent, so there has to be room for it first.
bool ControlServer::Session::ask(const LauncherMessage& message) {
  if (ended || unsent.size() >= kUnreadRequests) return false;
  send(writer->line(message));
  return true;
}

void ControlServer::Session::send(std::string line) {
  unsent.push_back(std::move(line));
  if (unsent.size() == 1) write();
}

void ControlServer::Session::write() {
  boost::asio::async_write(socket, boost::asio::buffer(unsent.front()),
                           [self = shared_from_this()](const Failure& failure, std::size_t) {
                             if (failure || self->ended) return;  // the pending read says how it ended
                             self->unsent.pop_front();
                             if (!self->unsent.empty()) {
                               self->write();
                             } else if (self->last_line) {
                               self->end();
                             }
                           });
}

void ControlServer::Session::end(LinkEnd how) {
  if (ended) return;
  ended = true;
  deadline.cancel();
  Failure ignored;
  socket.close(ignored);
  const auto self = shared_from_this();  // the server's may be the last one
  if (!who) {
    server->strangers.remove(self);
    return;
  }
  server->ranks.erase(who->rank);
  call(server->callbacks.on_gone, who->rank, how);
}

ControlServer::Impl::Impl(boost::asio::io_context& the_io, ControlServerOptions the_options,
                          ControlCallbacks the_callbacks)
    : io(the_io),
      options(std::move(the_options)),
      callbacks(std::move(the_callbacks)),
      job(parse_job_token(options.token)),
      acceptor(io),
      accept_again(io) {
  if (options.ranks < 1) throw std::invalid_argument("ControlServer: ranks must be >= 1");
}

void ControlServer::Impl::listen() {
  Failure failure;
  const auto address = boost::asio::ip::make_address(options.address, failure);
  if (failure) {
    throw ConfigError("control channel: '" + options.address + "' is not an IP address; name one of this machine");
  }
  const tcp::endpoint endpoint(address, 0);
  if (!failure) acceptor.open(endpoint.protocol(), failure);
  if (!failure) fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  if (!failure) acceptor.bind(endpoint, failure);
  if (!failure) acceptor.listen(boost::asio::socket_base::max_listen_connections, failure);
  if (failure) {
    throw ConfigError("control channel: cannot listen on " + options.address + ": " + failure.message() +
                      "; name an address of this machine that every rank's machine reaches");
  }
  accept();
}

void ControlServer::Impl::accept() {
  acceptor.async_accept([self = shared_from_this()](const Failure& failure, tcp::socket socket) {
    if (self->over) return;
    if (!failure) {
      self->take(std::move(socket));
      self->accept();
      return;
    }
    self->accept_again.expires_after(kAcceptAgain);  // no descriptor is free: others end meanwhile
    self->accept_again.async_wait([self](const Failure&) {
      if (!self->over) self->accept();
    });
  });
}

void ControlServer::Impl::take(tcp::socket socket) {
  ++counts.accepted;
  try {
    watch_link(socket.native_handle());
  } catch (const std::system_error&) {
    return;  // it is closed already
  }
  if (strangers.size() + ranks.size() >= static_cast<std::size_t>(options.ranks) + kStrangers) {
    ++counts.crowded_out;
    strangers.front()->end();
  }
  strangers.push_back(std::make_shared<Session>(shared_from_this(), std::move(socket)));
  strangers.back()->start();
}

std::optional<Refusal> ControlServer::Impl::objection(const RankIdentity& who) const {
  if (who.size != options.ranks) {
    return Refusal{described(who) + " is of a job of " + std::to_string(who.size) + " ranks, this one has " +
                       std::to_string(options.ranks),
                   true};
  }
  if (const auto there = ranks.find(who.rank); there != ranks.end()) {
    return Refusal{described(who) + " came second: " + described(*there->second->who) + " has joined already", false};
  }
  if (!first) return std::nullopt;
  const auto differs = [&](const char* what, const std::string& here, const std::string& there) {
    return Refusal{described(who) + " has another " + what + " (" + here + ") than " + described(*first) + " (" +
                       there + "); give every machine the same",
                   true};
  };
  if (who.program != first->program) return differs("program", who.program, first->program);
  if (who.config != first->config) return differs("configuration", who.config, first->config);
  return std::nullopt;
}

int ControlServer::Impl::ask_all(const LauncherMessage& message) {
  int asked = 0;
  for (const auto& [rank, session] : ranks) asked += session->ask(message);
  return asked;
}

ControlServer::ControlServer(boost::asio::io_context& io, ControlServerOptions options, ControlCallbacks callbacks)
    : impl_(std::make_shared<Impl>(io, std::move(options), std::move(callbacks))) {
  impl_->listen();
}

ControlServer::~ControlServer() {
  impl_->over = true;
  impl_->callbacks = {};
  impl_->accept_again.cancel();
  Failure ignored;
  impl_->acceptor.close(ignored);
  while (!impl_->strangers.empty()) impl_->strangers.front()->end();
  while (!impl_->ranks.empty()) impl_->ranks.begin()->second->end();
}

std::string ControlServer::address() const {
  const auto endpoint = impl_->acceptor.local_endpoint();
  return endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
}
int ControlServer::connections() const {
  return static_cast<int>(impl_->strangers.size() + impl_->ranks.size());
}
int ControlServer::joined() const {
  return static_cast<int>(impl_->ranks.size());
}
ControlCounts ControlServer::counts() const {
  return impl_->counts;
}

bool ControlServer::ask_stack(int rank) {
  const auto session = impl_->ranks.find(rank);
  return session != impl_->ranks.end() && session->second->ask(AskStack{});
}
int ControlServer::ask_stop() {
  return impl_->ask_all(AskStop{});
}
int ControlServer::ask_leave() {
  return impl_->ask_all(AskLeave{});
}

}  // namespace triptych

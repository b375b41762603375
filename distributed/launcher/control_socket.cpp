#include "distributed/launcher/control_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace triptych {
namespace {

void set_option(int socket, int level, int option, int value) {
  if (setsockopt(socket, level, option, &value, sizeof value) != 0) {
    throw std::system_error(errno, std::generic_category(), "control connection: setsockopt");
  }
}

}  // namespace

std::span<char> ControlLines::room() {
  std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  return std::span(bytes_).subspan(end_);
}

std::optional<std::string_view> ControlLines::next() {
  const std::string_view waiting(bytes_.data() + begin_, end_ - begin_);
  const auto newline = waiting.find('\n');
  if (newline == std::string_view::npos) return std::nullopt;
  begin_ += newline + 1;
  return waiting.substr(0, newline);
}

void watch_link(int socket) {
  if (fcntl(socket, F_SETFD, FD_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "control connection: fcntl");
  }
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 4000);  // ms; decides alone for keepalives too
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
}

}  // namespace triptych

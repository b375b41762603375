// The live view: a web page, its data and Prometheus metrics, on this machine's loopback address only.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "distributed/launcher/monitor_state.h"

namespace boost::asio {
class io_context;
}

namespace triptych {

/// HTTP/1.1 on 127.0.0.1. It only shows: GET and HEAD of / (the page), /state.json and /metrics; nothing can be changed
/// through it. Since web pages of others may send requests to a loopback port, a Host that is not localhost or
/// 127.0.0.1 (with no port or this one) is refused, and so is an Origin other than that; no answer may be read by
/// another page. A request has 5 s and 8 KiB of header, a connection 5 s of silence; at most 32 connections.
class Monitor {
 public:
  /// `state` is asked once a request, on the thread of `io`; what it throws is answered with 500. Port 0: any free one.
  /// Throws ConfigError if the port cannot be had.
  Monitor(boost::asio::io_context& io, std::uint16_t port, std::function<MonitorState()> state);
  /// Closes the port and all connections. Not while `io` runs on another thread.
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  std::uint16_t port() const;
  /// "http://127.0.0.1:8080/"
  std::string url() const;

 private:
  class Server;
  std::shared_ptr<Server> server_;
};

}  // namespace triptych

#include "distributed/launcher/own_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/strings.h"
#include "distributed/launcher/host_check.h"

namespace triptych {
namespace {

std::string text_of(const in_addr& address) {
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &address, text, sizeof text);
  return text;
}

struct Network {
  std::uint32_t address = 0, mask = 0;  // host byte order
};

std::optional<Network> parse_cidr(const std::string& text) {
  const auto slash = text.find('/');
  in_addr address{};
  if (slash == std::string::npos || inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) != 1) return {};
  const auto bits = text.substr(slash + 1);
  if (bits.empty() || bits.size() > 2 || bits.find_first_not_of("0123456789") != std::string::npos) return {};
  const int length = std::stoi(bits);
  if (length > 32) return {};
  const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  return Network{ntohl(address.s_addr) & mask, mask};
}

std::string address_of_interface(const std::string& interface) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0)
    throw ConfigError("--interface " + interface + ": this machine's interfaces cannot be listed");
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  const auto network = parse_cidr(interface);
  std::string known;
  for (const auto* item = list; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr || item->ifa_addr->sa_family != AF_INET) continue;
    const auto& address = reinterpret_cast<const sockaddr_in*>(item->ifa_addr)->sin_addr;
    const bool inside = network && (ntohl(address.s_addr) & network->mask) == network->address;
    if (inside || interface == item->ifa_name) return text_of(address);
    known += (known.empty() ? "" : ", ") + std::string(item->ifa_name) + " " + text_of(address);
  }
  throw ConfigError("--interface " + interface + ": this machine has no such interface with an IPv4 address; it has " +
                    known);
}

struct Resolved {
  int error = 0;
  std::shared_ptr<addrinfo> list;
};

Resolved resolve(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(name.c_str(), "9", &hints, &found);
  return {error, error == 0 ? std::shared_ptr<addrinfo>(found, freeaddrinfo) : nullptr};
}

/// A name service that is silent is asked by a thread of its own, which is left behind.
std::shared_ptr<addrinfo> resolve_within(const Host& host, std::chrono::milliseconds limit) {
  std::packaged_task<Resolved()> task([name = host.name] { return resolve(name); });
  auto answer = task.get_future();
  std::thread(std::move(task)).detach();
  if (answer.wait_for(limit) != std::future_status::ready) {
    throw ConfigError(host.where + ": " + host.name + ": the name is not resolved (within " +
                      number_text(std::chrono::duration<double>(limit).count()) +
                      " s); check the name service of this machine");
  }
  const auto found = answer.get();
  if (found.error != 0) {
    throw ConfigError(host.where + ": " + host.name + " does not resolve: " + gai_strerror(found.error));
  }
  return found.list;
}

/// Nothing is sent: connecting a datagram socket only asks the routing table.
std::string address_towards(const Host& host, std::chrono::milliseconds limit) {
  const auto found = resolve_within(host, limit);
  const FileHandle socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in own{};
  socklen_t length = sizeof own;
  if (socket.get() < 0 || ::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &length) != 0) {
    throw ConfigError(host.where + ": no way from here to " + host.name + ": " + std::strerror(errno) +
                      "; name the interface with --interface");
  }
  return text_of(own.sin_addr);
}

}  // namespace

std::string own_address(const std::vector<Host>& hosts, const std::string& interface, std::chrono::milliseconds limit) {
  const Host* other = nullptr;
  for (const auto& host : hosts) {
    if (other == nullptr && !is_this_machine(host.name)) other = &host;
  }
  if (other == nullptr) return "127.0.0.1";
  return interface.empty() ? address_towards(*other, limit) : address_of_interface(interface);
}

}  // namespace triptych

// The address under which other machines of a job reach this one.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "distributed/launcher/hosts.h"

namespace triptych {

/// 127.0.0.1 where every host is this machine. Else the address of `interface` (its name or a CIDR) or, where that is
/// empty, the one from which this machine talks to the first other host, whose name is resolved within `limit`. Throws
/// ConfigError.
std::string own_address(const std::vector<Host>& hosts, const std::string& interface,
                        std::chrono::milliseconds limit = std::chrono::seconds(10));

}  // namespace triptych

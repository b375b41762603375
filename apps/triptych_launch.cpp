// The launcher, a program of its own. Like triptych.cpp, the only file of it that catches, prints and decides the exit
// code.
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <variant>

#include "apps/command_line.h"
#include "apps/launch_plan.h"
#include "apps/own_program.h"
#include "apps/version.h"
#include "core/base/log.h"
#include "distributed/launcher/host_check.h"
#include "distributed/launcher/own_address.h"

namespace triptych {
namespace {

int run(const PrintArguments& arguments) {
  std::cout << arguments.text << std::flush;
  return 0;
}

int run(const ProbeArguments& arguments) {
  std::cout << to_json(probe({arguments.program, arguments.configs, arguments.run_dir})) << std::endl;
  return 0;
}

/// Says what is wrong with the hosts.
HostReport check_hosts(const LaunchPlan& plan) {
  boost::asio::io_context io;
  HostReport result;
  const HostChecks checks(io, plan.hosts.hosts, plan.check, [&](const HostReport& report) { result = report; });
  io.run();
  for (const auto& finding : result.findings) {
    finding.fatal ? log_error("launch: " + finding.text) : log_warning("launch: " + finding.text);
  }
  return result;
}

int run(const LaunchArguments& arguments) {
  leave_on_stop_signals();
  const auto program = beside_this_program("triptych");
  const auto facts = read_run_facts(program, arguments);
  auto plan = make_launch_plan(program, arguments, facts);
  const auto first_command = [&] { return command_of(plan, shares_of(plan, {}), /*again=*/false); };
  if (arguments.print_command) {
    std::cout << printable(first_command()) << std::endl;
    return 0;
  }
  if (plan.check.bytes_needed == 0) {
    plan.check.bytes_needed = planned_checkpoint_bytes(program, arguments, plan.ranks).value_or(0);
  }
  const auto report = check_hosts(plan);
  if (!report.ok()) return static_cast<int>(ExitCode::kUsage);
  plan.address = own_address(plan.hosts.hosts, arguments.interface);
  set_cores(plan, report.facts);
  first_command();  // throws where ranks do not fit on the cores that the hosts have
  if (arguments.check_only) {
    std::cout << plan.hosts.hosts.size() << " hosts, " << plan.hosts.slots() << " slots: ready" << std::endl;
    return 0;
  }
  boost::asio::io_context io;
  return Supervisor(io, std::move(plan)).run();
}

template <class Other>
int run(const Other&) {
  throw ConfigError("triptych-launch: only `launch` is run here; use triptych");
}

}  // namespace
}  // namespace triptych

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const auto arguments = triptych::parse_command_line(argc, argv, triptych::version_text());
    return std::visit([](const auto& chosen) { return triptych::run(chosen); }, arguments);
  } catch (const triptych::Error& error) {
    triptych::log_error(error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    triptych::log_error(error.what());
    return 1;
  }
}

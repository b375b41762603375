// The program: a command line becomes one of the commands. Only this file catches, prints (failure.h) and decides the
// exit code.
#include <csignal>
#include <exception>
#include <variant>

#include "apps/command_line.h"
#include "apps/commands.h"
#include "apps/failure.h"
#include "apps/result.h"
#include "apps/version.h"
#include "core/base/fault_plan.h"
#include "core/base/log.h"
#include "distributed/launch.h"

namespace triptych {

ExitCode run_command(const PrintArguments& arguments) {
  print_text(arguments.text);
  return ExitCode::kDone;
}

}  // namespace triptych

int main(int argc, char** argv) {
  // A reader of our output that goes away is a write error, not a reason to die without a word.
  std::signal(SIGPIPE, SIG_IGN);
  // So is a file that may not grow: the checkpoint fails, the run says so.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const auto planned = triptych::plan_faults_of_environment();
    if (!planned.empty() && triptych::environment_rank() <= 0) triptych::log_warning(planned);
    const auto arguments = triptych::parse_command_line(argc, argv, triptych::version_text());
    const auto code = std::visit([](const auto& chosen) { return triptych::run_command(chosen); }, arguments);
    return static_cast<int>(code);
  } catch (const std::exception& error) {
    triptych::end_with(error);
  }
}

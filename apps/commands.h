// The subcommands: each in its own <name>_command.cpp. They throw typed errors; main() prints those.
#pragma once
#include "apps/command_line.h"
#include "core/base/errors.h"

namespace triptych {

ExitCode run_command(const PrintArguments& arguments);
ExitCode run_command(const TrainArguments& arguments);
ExitCode run_command(const EvalArguments& arguments);
ExitCode run_command(const InspectArguments& arguments);
ExitCode run_command(const DoctorArguments& arguments);
ExitCode run_command(const DataArguments& arguments);
ExitCode run_command(const BenchArguments& arguments);
ExitCode run_command(const PlanArguments& arguments);
/// Both: the process becomes triptych-launch, which lies beside this program.
ExitCode run_command(const LaunchArguments& arguments);
ExitCode run_command(const ProbeArguments& arguments);
ExitCode run_command(const ConfigReferenceArguments& arguments);

}  // namespace triptych

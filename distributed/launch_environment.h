// What the launcher's environment variables say, before any transport is up.
#pragma once
#include <functional>
#include <optional>
#include <string>

namespace triptych {

struct LaunchEnvironment {
  /// "mpirun" (OMPI_*), "srun" (PMIX_RANK with SLURM_PROCID), "torchrun" (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT),
  /// or "none": one process. The first that matches.
  std::string launcher = "none";
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  std::string master_host;  ///< torchrun
  int master_port = 0;      ///< torchrun
  /// Number of processes that somebody promised, and the variable that says so; the largest of WORLD_SIZE, SLURM_NTASKS
  /// and PMI_SIZE.
  int announced = 1;
  std::string announced_by;
};

using ReadVariable = std::function<std::optional<std::string>(const std::string& name)>;
/// The process's own environment.
std::optional<std::string> environment_variable(const std::string& name);

/// Throws ConfigError for a variable that is not a number.
LaunchEnvironment read_launch_environment(const ReadVariable& variable = environment_variable);

/// Throws ConfigError with the right command when more processes are announced than there are: N processes that each
/// believe to be alone would train N times the same model and write into the same run directory.
void refuse_missing_ranks(const LaunchEnvironment& environment, int size);

}  // namespace triptych

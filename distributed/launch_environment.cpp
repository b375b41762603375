#include "distributed/launch_environment.h"

#include <charconv>
#include <cstdlib>

#include "core/base/errors.h"

namespace triptych {
namespace {

std::optional<int> number(const ReadVariable& variable, const std::string& name) {
  const auto text = variable(name);
  if (!text || text->empty()) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    throw ConfigError("environment variable " + name + "='" + *text + "' is not a number; unset it or set it right");
  }
  return value;
}

void read_torchrun(const ReadVariable& variable, LaunchEnvironment& found) {
  found.launcher = "torchrun";
  found.rank = *number(variable, "RANK");
  found.size = *number(variable, "WORLD_SIZE");
  found.local_rank = number(variable, "LOCAL_RANK").value_or(0);
  found.local_size = number(variable, "LOCAL_WORLD_SIZE").value_or(1);
  found.master_host = *variable("MASTER_ADDR");
  found.master_port = *number(variable, "MASTER_PORT");
}

}  // namespace

std::optional<std::string> environment_variable(const std::string& name) {
  const char* text = std::getenv(name.c_str());
  return text ? std::optional<std::string>(text) : std::nullopt;
}

LaunchEnvironment read_launch_environment(const ReadVariable& variable) {
  LaunchEnvironment found;
  for (const char* name : {"WORLD_SIZE", "SLURM_NTASKS", "PMI_SIZE"}) {
    const int announced = number(variable, name).value_or(1);
    if (announced > found.announced) {
      found.announced = announced;
      found.announced_by = name;
    }
  }
  if (number(variable, "OMPI_COMM_WORLD_SIZE")) {
    found.launcher = "mpirun";
    found.rank = number(variable, "OMPI_COMM_WORLD_RANK").value_or(0);
    found.size = *number(variable, "OMPI_COMM_WORLD_SIZE");
    found.local_rank = number(variable, "OMPI_COMM_WORLD_LOCAL_RANK").value_or(0);
    found.local_size = number(variable, "OMPI_COMM_WORLD_LOCAL_SIZE").value_or(1);
  } else if (number(variable, "PMIX_RANK") && number(variable, "SLURM_PROCID")) {
    found.launcher = "srun";
    found.rank = *number(variable, "PMIX_RANK");
    found.size = number(variable, "SLURM_NTASKS").value_or(1);
    found.local_rank = number(variable, "SLURM_LOCALID").value_or(0);
  } else if (number(variable, "RANK") && number(variable, "WORLD_SIZE") && variable("MASTER_ADDR") &&
             number(variable, "MASTER_PORT")) {
    read_torchrun(variable, found);
  }
  return found;
}

void refuse_missing_ranks(const LaunchEnvironment& environment, int size) {
  if (environment.announced <= size) return;
  const auto n = std::to_string(environment.announced);
  std::string what = environment.announced_by + "=" + n + " announces " + n + " processes, but this job has " +
                     std::to_string(size) + "; ";
  if (environment.announced_by == "SLURM_NTASKS") {
    what += "start it with `srun --mpi=pmix -n " + n + " triptych ...` or `mpirun -np " + n + " triptych ...`";
  } else if (environment.announced_by == "PMI_SIZE") {
    what += "another MPI's launcher started it: use Open MPI's, `mpirun -np " + n + " triptych ...`";
  } else {
    what += "start it with `mpirun -np " + n +
            " triptych ...`, or on GPUs with `torchrun --no-python --nproc-per-node " + n + " triptych ...`";
  }
  throw ConfigError(what + ", or unset " + environment.announced_by + " if fewer processes are meant");
}

}  // namespace triptych

// Where this process stands: rank, local rank, host, device, found from mpirun, srun (PMIx) or torchrun's variables;
// and the Collectives that go with it. Owns MPI's life.
#pragma once
#include <memory>
#include <string>

#include "distributed/collectives.h"

namespace triptych {

struct LaunchOptions {
  std::string device = "auto";  ///< auto | cpu | cuda
  double timeout_s = 600;       ///< of one collective
};

struct Place {
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  std::string host;
  std::string launcher;     ///< "mpirun", "srun", "torchrun" or "none"
  std::string device;       ///< "cpu" or "cuda:3"
  std::string device_note;  ///< why auto did not take the GPUs; empty if there is nothing to say
};

class Launch {
 public:
  /// Reads the launch environment and starts the transports. Errors (ConfigError): WORLD_SIZE or SLURM_NTASKS announces
  /// more processes than MPI sees; device: cuda without a GPU for every local rank. Touches no CUDA state for `cpu`.
  explicit Launch(const LaunchOptions& options);
  /// Leaves in good order (barrier, finalize) unless an exception unwinds or a collective timed out.
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;
  const Place& place() const;
  Collectives& comm();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// "Open MPI v4.1.4": what the program is linked with.
std::string mpi_library();

/// Rank and size as the environment tells them, before any transport is up (-1 and 1 if nothing tells). For who may
/// print.
int environment_rank();

/// Ends the whole job now with `code`: MPI_Abort where MPI runs, else _exit. Flushes stderr first. Never returns.
[[noreturn]] void abort_job(int code);

}  // namespace triptych

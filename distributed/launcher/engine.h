// The command that starts the ranks: mpirun of Open MPI 4.1, or srun. Argument lists, never a line for a shell.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/launcher/hosts.h"

namespace triptych {

/// What is started where. No value of a variable is in it: command lines can be read by every user of a machine.
struct JobShape {
  std::vector<HostShare> shares;       ///< rank 0 is the first of the first share
  std::vector<std::string> program;    ///< with its arguments; started on every host
  std::string bind_to = "none";        ///< none, core or socket
  std::vector<std::string> agent;      ///< stands in for ssh; empty: Open MPI's own choice
  std::string interface;               ///< network interface or CIDR for all traffic of MPI; empty: all
  std::vector<std::string> variables;  ///< names of environment variables that the ranks get
  std::map<std::string, int> cores;    ///< by name of host, where known
  int ranks() const;
};

enum class Engine { kMpirun, kSrun };
const char* engine_name(Engine engine);

/// "auto", "mpirun" or "srun" -> what starts the job; auto is srun where the hosts are Slurm's and there is an srun.
/// Throws ConfigError if the program is not on PATH (a list of folders, as in the variable), naming what to install.
Engine choose_engine(const std::string& wish, bool hosts_from_slurm, std::string_view path);
/// Path of an executable file on `path`; `name` itself if it has a slash and is one; else empty.
std::string find_executable(const std::string& name, std::string_view path);

/// Ranks are mapped one by one in the order of `shares`. A link that is cut ends the job within 6 s (Open MPI itself
/// waits 8 minutes); a rank that fails ends all. mpirun refuses root unless OMPI_ALLOW_RUN_AS_ROOT and
/// OMPI_ALLOW_RUN_AS_ROOT_CONFIRM are 1 in its environment. Throws ConfigError for what mpirun cannot express.
std::vector<std::string> mpirun_command(const JobShape& shape);
/// Inside of an allocation. Every variable of srun's environment reaches the ranks. Throws ConfigError for settings
/// that are mpirun's alone.
std::vector<std::string> srun_command(const JobShape& shape);

/// One word as a POSIX shell reads it back: 'it'\''s'; plain words stay as they are.
std::string shell_quoted(std::string_view word);
/// A line that can be pasted into a shell.
std::string printable(const std::vector<std::string>& words);

}  // namespace triptych

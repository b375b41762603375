// The machines of a job: from a hostfile, from Slurm or this one; and which of them take how many ranks.
#pragma once
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/launch_environment.h"

namespace triptych {

struct Host {
  std::string name;
  int slots = 1;       ///< ranks that fit there
  bool spare = false;  ///< takes ranks only where other hosts are left out
  std::string where;   ///< for messages: "hosts.txt:3", "SLURM_JOB_NODELIST", "--hosts local"
};

struct HostList {
  std::string source;  ///< for messages: the hostfile, "SLURM_JOB_NODELIST" or "--hosts local"
  std::vector<Host> hosts;
  int slots() const;  ///< without those of spares
};

/// Ranks of one host: those after the ranks of the hosts before it.
struct HostShare {
  Host host;
  int ranks = 0;
};

/// A hostfile: lines of "NAME slots=N" or "NAME slots=N spare", # begins a comment. All bad lines stand in one
/// ConfigError, each as file:line, what was got and what is expected. `name` is the file in messages.
HostList parse_hostfile(std::string_view text, const std::string& name);
/// Reads and parses. Throws ConfigError, also where the file cannot be read or is larger than 1 MiB.
HostList read_hostfile(const std::filesystem::path& path);

/// "n[01-03,7],m1" -> n01 n02 n03 n7 m1. Throws ConfigError, also for more than 4096 names.
std::vector<std::string> expand_nodelist(std::string_view text);
/// "4(x2),3" -> 4 4 3. Throws ConfigError, also for more than 4096 numbers.
std::vector<int> expand_tasks_per_node(std::string_view text);
/// The nodes of this Slurm allocation, by SLURM_JOB_NODELIST and SLURM_TASKS_PER_NODE.
HostList slurm_hosts(const ReadVariable& variable);
/// Cores that this process may use.
int cores_of_process();
/// This machine with `slots` slots; cores_of_process() of them if `slots` is 0.
HostList local_host(int slots);

/// What `--hosts SPEC` means: "slurm", "local" (`ranks` slots, 0: all cores) or a hostfile.
HostList read_hosts(const std::string& spec, int ranks, const ReadVariable& variable);

/// Throws ConfigError if `ranks` is not in [1, slots()]: which line offers what, and what to do.
void check_ranks(const HostList& list, int ranks);
/// Slots of all hosts, spares too, whose names are not in `excluded`.
int usable_slots(const HostList& list, const std::set<std::string>& excluded);
/// The hosts that take `ranks` ranks: in the order of the list, each filled before the next, without `excluded` ones,
/// spares last. Throws ConfigError if they do not fit.
std::vector<HostShare> place_ranks(const HostList& list, int ranks, const std::set<std::string>& excluded = {});
/// Host of each rank.
std::vector<std::string> hosts_by_rank(const std::vector<HostShare>& shares);

}  // namespace triptych

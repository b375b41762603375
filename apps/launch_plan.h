// From `triptych launch ...` to what the supervisor runs.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/command_line.h"
#include "distributed/launcher/supervisor.h"

namespace triptych {

/// What the launcher must know of the run; as `triptych train ... --print-config` says it, which checks the
/// configuration at the same time.
struct RunFacts {
  std::string name;
  std::filesystem::path run_dir;  ///< absolute
  std::int64_t global_batch = 1;
  std::int64_t micro_batch = 0;  ///< 0: all rows of a rank at once
  std::optional<std::int64_t> virtual_shards;
  std::vector<std::string> files;  ///< the configuration and all that it extends, absolute
};

/// Runs `program`. Throws Error with the code and the line that it ended with.
RunFacts read_run_facts(const std::string& program, const LaunchArguments& arguments);

/// `program`: the triptych that ranks run, an absolute path. Throws ConfigError.
LaunchPlan make_launch_plan(const std::string& program, const LaunchArguments& arguments, const RunFacts& facts);

/// Cores of each host, so that more ranks than cores yield to each other and none is bound where they do not fit: from
/// what the hosts said, of Slurm's nodes from Slurm, which gives a job a part of a node; of this machine without both.
void set_cores(LaunchPlan& plan, const std::map<std::string, MachineFacts>& said);

/// Bytes that the first checkpoint will take, as `triptych plan` reckons; nothing, with a warning, where it cannot.
std::optional<std::uint64_t> planned_checkpoint_bytes(const std::string& program, const LaunchArguments& arguments,
                                                      int ranks);

/// Bytes of the newest checkpoint of the run; 0 if there is none yet.
std::uint64_t checkpoint_bytes(const std::filesystem::path& run_dir);

}  // namespace triptych

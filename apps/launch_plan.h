// From `triptych launch ...` to what the supervisor runs.
#pragma once
#include <filesystem>
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
  std::optional<std::int64_t> virtual_shards;
  std::vector<std::string> files;  ///< the configuration and all that it extends, absolute
};

/// Runs `program`. Throws Error with the code and the line that it ended with.
RunFacts read_run_facts(const std::string& program, const LaunchArguments& arguments);

/// `program`: the triptych that ranks run, an absolute path. Throws ConfigError.
LaunchPlan make_launch_plan(const std::string& program, const LaunchArguments& arguments, const RunFacts& facts);

/// Bytes of the newest checkpoint of the run; 0 if there is none yet.
std::uint64_t checkpoint_bytes(const std::filesystem::path& run_dir);

}  // namespace triptych

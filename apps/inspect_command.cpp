// `triptych inspect PATH`: finds out what PATH is.
#include <filesystem>

#include "apps/commands.h"
#include "apps/inspect.h"
#include "apps/result.h"

namespace triptych {

ExitCode run_command(const InspectArguments& arguments) {
  namespace fs = std::filesystem;
  const fs::path path = arguments.path;
  const auto result = [&] {
    if (!fs::exists(path)) throw ConfigError("inspect: " + path.string() + " does not exist");
    if (!fs::is_directory(path)) return inspect_shard(path);
    if (fs::exists(path / "manifest.json")) return inspect_checkpoint(path);
    if (fs::exists(path / "checkpoints") || fs::exists(path / "config.yaml")) return inspect_run(path);
    throw ConfigError("inspect: " + path.string() +
                      " holds neither manifest.json (a checkpoint) nor config.yaml or checkpoints/ (a run)");
  };
  print_result(result(), arguments.format);
  return ExitCode::kDone;
}

}  // namespace triptych

// `triptych train CONFIG`: reads the configuration and hands over.
#include <optional>

#include "apps/commands.h"
#include "apps/result.h"
#include "apps/version.h"
#include "core/base/log.h"
#include "core/train/stop_signal.h"
#include "core/train/train_config_file.h"
#include "core/train/train_run.h"
#include "distributed/launch.h"

namespace triptych {

ExitCode run_command(const TrainArguments& arguments) {
  TrainRequest request;
  request.config = load_train_config(arguments.config, arguments.set);
  request.config_text = train_config_text(request.config);
  request.run_dir = arguments.run_dir;
  request.resume = arguments.resume;
  request.allow_change = arguments.allow_change;
  request.program = version_text();
  if (arguments.print_config) {
    if (environment_rank() <= 0) print_text(request.config_text);
    return ExitCode::kDone;
  }
  if (arguments.dry_run && (arguments.resume != TrainArguments().resume || !arguments.allow_change.empty())) {
    throw ConfigError("train: --dry-run looks at no checkpoint, so --resume and --allow-change do nothing with it");
  }
  std::optional<StopSignal> signal;  // from here on: a run that is asked to stop while it starts stops in good order
  if (!arguments.dry_run) signal.emplace();
  Launch launch({.device = request.config.train.device, .timeout_s = request.config.train.timeout_s});
  start_log(launch.place().rank, launch.place().size);
  if (arguments.dry_run) {
    const auto table = dry_run(request, launch);
    if (launch.place().rank == 0) print_text(table);
    return ExitCode::kDone;
  }
  return run_training(request, launch);
}

}  // namespace triptych

// `triptych train CONFIG`: reads the configuration and hands over.
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "apps/commands.h"
#include "apps/result.h"
#include "apps/version.h"
#include "core/base/atomic_file.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/train/replica_check.h"
#include "core/train/stop_signal.h"
#include "core/train/train_config_file.h"
#include "core/train/train_run.h"
#include "distributed/launch.h"
#include "distributed/launch_environment.h"
#include "distributed/launcher/control_link.h"

namespace triptych {

namespace {

/// Who this rank is for a launcher; ranks with another program or configuration are turned away.
RankIdentity identity_of(const Place& place, const TrainRequest& request) {
  return {.rank = place.rank,
          .size = place.size,
          .host = place.host,
          .pid = ::getpid(),
          .program = hash_text(xxh64(read_file("/proc/self/exe"))),
          .config = hash_text(xxh64(request.config_text))};
}

/// Null unless triptych launch started this rank.
std::unique_ptr<ControlLink> link_to_launcher(const Place& place, const TrainRequest& request) {
  if (!environment_variable("TRIPTYCH_CONTROL")) return nullptr;
  return ControlLink::from_environment(
      identity_of(place, request),
      {.stop = [] { ::kill(::getpid(), SIGUSR1); },  // as if a scheduler asked: see StopSignal
       .end = [](int code) { abort_job(code); }});
}

/// The launcher hears the end of this rank from itself, and why.
ExitCode run_watched(TrainRequest& request, Launch& launch) {
  const auto link = link_to_launcher(launch.place(), request);
  request.launcher = link.get();
  if (!link) return run_training(request, launch);
  try {
    const auto code = run_training(request, launch);
    link->set_goodbye({.code = static_cast<int>(code)});
    return code;
  } catch (const Error& error) {
    link->event({ControlEvent::Kind::kNote, error.what(), 0, 0});
    const auto* replicas = dynamic_cast<const ReplicaError*>(&error);
    link->set_goodbye({.code = static_cast<int>(error.code()),
                       .agreed = error.agreed(),
                       .culprit = replicas != nullptr ? replicas->culprit() : -1});
    throw;
  }
}

}  // namespace

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
  return run_watched(request, launch);
}

}  // namespace triptych

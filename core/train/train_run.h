// One `triptych train`: opens data, builds the objective, finds the checkpoint to go on from, trains, saves, evaluates.
#pragma once
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "core/train/train_config.h"
#include "distributed/launch.h"
#include "distributed/launcher/control_link.h"

namespace triptych {

struct TrainRequest {
  TrainConfig config;           ///< resolved
  std::string config_text;      ///< the resolved configuration as YAML: saved with the run, compared at resume
  std::string run_dir;          ///< empty: run.dir/run.name
  std::string resume = "auto";  ///< auto | never | path of a checkpoint
  std::vector<std::string> allow_change;  ///< keys that may differ from the saved configuration
  std::string program = "triptych";       ///< name, version and revision, for environment.json and manifests
  ControlLink* launcher = nullptr;        ///< is told of checkpoints and evaluations; null: nobody watches
};

/// Collective. Returns kDone or kPreempted; throws typed errors.
ExitCode run_training(const TrainRequest& request, Launch& launch);
/// The same on any transport: what tests call with ranks that are threads.
ExitCode run_training(const TrainRequest& request, const Place& place, Collectives& comm);

/// `--dry-run`: opens the corpora, builds the model, checks memory and batch arithmetic; returns the table that is
/// printed (parameters per tower, samples per epoch, steps, memory estimate). Trains nothing, writes nothing
/// but missing index files of corpora. Collective.
std::string dry_run(const TrainRequest& request, Launch& launch);
std::string dry_run(const TrainRequest& request, const Place& place, Collectives& comm);

}  // namespace triptych

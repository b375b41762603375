// Where a run goes on: from nothing, from its own newest valid checkpoint, or from the one that the user names.
#pragma once
#include <optional>
#include <string>

#include "core/train/checkpoint_store.h"
#include "core/train/run_directory.h"
#include "core/train/train_run.h"

namespace triptych {

struct ResumePoint {
  CheckpointStore::Found checkpoint;
  bool own = true;  ///< lies in this run's directory, so the run's logs go on from it
};

/// Rank 0 only. Nothing: start from step 0. Sets damaged checkpoints aside. A checkpoint of this run that the user
/// names supersedes the newer ones, but not here: only when it is loaded. Throws ConfigError (the directory holds
/// another run, the configuration differs) and CheckpointError.
std::optional<ResumePoint> find_resume_point(const TrainRequest& request, const RunDirectory& directory,
                                             const CheckpointStore& store);

/// Throws ConfigError when the corpora are not those of the checkpoint, unless `allow_change` names data or
/// data.corpora.
void check_corpora(const Manifest& manifest, const std::string& fingerprint, const TrainRequest& request);

/// Throws ConfigError when the run has a head whose outputs are classes, and they are not those of the checkpoint.
void check_head(const Manifest& manifest, const std::vector<std::string>& class_names, const TrainRequest& request);

/// What differs around the program, in one line; empty if nothing does that could change bits. `any_ranks`: their
/// number cannot, as with virtual shards; threads of a rank can.
std::string environment_changes(const Manifest& manifest, std::int64_t ranks, std::int64_t threads,
                                const std::string& device, const std::string& instruction_set, bool any_ranks = false);

}  // namespace triptych

// The rules of --resume.
#include "core/train/resume.h"

#include <algorithm>

#include "core/base/errors.h"
#include "core/base/log.h"
#include "core/train/run_changes.h"
#include "core/train/train_config_file.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

std::optional<ResumePoint> newest(const CheckpointStore& store) {
  auto found = store.newest_valid();
  if (!found) return std::nullopt;
  return ResumePoint{std::move(*found), true};
}

/// The newest checkpoint of a run that --resume names as a whole.
fs::path newest_of_run(const fs::path& run) {
  const auto found = CheckpointStore(run / "checkpoints").newest_valid(/*look_only=*/true);
  if (!found) throw CheckpointError("--resume " + run.string() + ": this run has no checkpoint");
  return found->path;
}

ResumePoint named(const fs::path& path, const RunDirectory& directory, const CheckpointStore& store) {
  auto folder = fs::absolute(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw CheckpointError("--resume " + path.string() + ": there is no such folder");
  }
  if (fs::is_directory(folder / "checkpoints", error)) folder = newest_of_run(folder);
  const bool own = fs::equivalent(folder.parent_path(), directory.checkpoints(), error);
  ResumePoint point{{folder, verify_checkpoint(folder)}, own};
  if (!own && (directory.holds_run() || !store.steps().empty())) {
    throw ConfigError("--resume " + path.string() + " is a checkpoint of another run, but " +
                      directory.path().string() + " already holds a run; choose another run.name");
  }
  return point;
}

}  // namespace

std::optional<ResumePoint> find_resume_point(const TrainRequest& request, const RunDirectory& directory,
                                             const CheckpointStore& store) {
  store.remove_unfinished();
  std::optional<ResumePoint> point;
  if (request.resume == "never") {
    if (directory.holds_run() || !store.steps().empty()) {
      throw ConfigError("--resume never: " + directory.path().string() +
                        " already holds a run; choose another run.name, or continue it with --resume auto");
    }
  } else if (request.resume == "auto") {
    point = newest(store);
    if (!point && directory.holds_run()) {
      log_warning(directory.path().string() +
                  " holds a run that was ended before its first checkpoint: starting again from step 0");
    }
  } else {
    point = named(request.resume, directory, store);
  }
  if (point) {
    // Read and written again: keys that are younger than the checkpoint stand at their defaults.
    const auto saved = train_config_text(load_train_config(point->checkpoint.path / "config.yaml"));
    check_changes(saved, request.config_text, request.allow_change);
  }
  return point;
}

void check_head(const Manifest& manifest, const std::vector<std::string>& class_names, const TrainRequest& request) {
  const bool head = std::holds_alternative<CrossEntropyConfig>(request.config.objective);
  if (!head && !std::holds_alternative<LabelEmbeddingConfig>(request.config.model.text)) return;
  if (class_names_hash(class_names) == manifest.class_names_xxh64) return;
  throw ConfigError(
      "the classes are not those of the checkpoint, or stand in another order, so that the outputs of the head (or the "
      "rows of the label embedding) would mean something else. Put the class lists back (classes.json in the run "
      "directory holds them), or start a new run with model.init_from");
}

void check_corpora(const Manifest& manifest, const std::string& fingerprint, const TrainRequest& request) {
  if (manifest.corpus_fingerprint == fingerprint) return;
  const auto& allowed = request.allow_change;
  for (const char* key : {"data", "data.corpora"}) {
    if (std::find(allowed.begin(), allowed.end(), key) != allowed.end()) return;
  }
  throw ConfigError("the corpora are not those of the checkpoint (fingerprint " + fingerprint + ", then " +
                    manifest.corpus_fingerprint +
                    "): shards were added, removed or changed. Put them back, or pass --allow-change data.corpora");
}

std::string environment_changes(const Manifest& manifest, std::int64_t ranks, std::int64_t threads,
                                const std::string& device, const std::string& instruction_set, bool any_ranks) {
  std::string changes;
  const auto compare = [&](const std::string& what, const std::string& then, const std::string& now) {
    if (then != now) changes += (changes.empty() ? "" : ", ") + what + " " + then + " -> " + now;
  };
  if (!any_ranks) compare("ranks", std::to_string(manifest.ranks), std::to_string(ranks));
  compare("threads", std::to_string(manifest.threads), std::to_string(threads));
  compare("device", manifest.device, device);
  compare("instruction set", manifest.instruction_set, instruction_set);
  if (changes.empty()) return {};
  return "resuming with " + changes + ": the same samples follow, but the last bits of numbers may differ";
}

}  // namespace triptych

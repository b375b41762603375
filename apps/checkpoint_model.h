// A trained model from a checkpoint, ready to be evaluated.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "core/objective/objective.h"
#include "core/train/checkpoint.h"
#include "core/train/train_config.h"

namespace triptych {

struct ChosenCheckpoint {
  std::filesystem::path folder;
  Manifest manifest;
};

/// `path` is a checkpoint, or a run directory: then its newest valid checkpoint (damaged ones are passed over with a
/// warning and left as they are). Verifies every file. Throws CheckpointError.
ChosenCheckpoint choose_checkpoint(const std::filesystem::path& path);

/// The configuration that a checkpoint or run directory was made with, and `changes` of --set. Throws CheckpointError
/// when there is none.
TrainConfig saved_config(const std::filesystem::path& path, const std::vector<std::string>& changes = {});

/// Throws ConfigError for a --set of anything but `eval`, `data` and the means of computing: the model is the
/// checkpoint's, so `who` (the command) may be told what to measure on and by which means, nothing of the model itself.
void check_measuring_set(const std::vector<std::string>& settings, const std::string& who);

struct CheckpointModel {
  CorpusFacts facts;  ///< labels only where `with_labels`
  std::unique_ptr<Objective> objective;
};
/// Throws CheckpointError when `class_names` are not those that the checkpoint was trained with: label numbers would
/// mean other classes.
void check_classes(const ChosenCheckpoint& checkpoint, const std::vector<std::string>& class_names);

/// With train.ema a checkpoint holds both.
enum class Weights { kAveraged, kLast };

/// Builds the objective of `config` on `device` and gives it the checkpoint's weights. `with_labels`: opens the
/// training corpora for their label table; objectives with a classification head need it. Throws ConfigError,
/// CheckpointError.
CheckpointModel load_checkpoint_model(const TrainConfig& config, const std::filesystem::path& checkpoint,
                                      at::Device device, bool with_labels, Weights weights);

}  // namespace triptych

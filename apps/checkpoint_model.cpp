// Finds, verifies and loads a checkpoint's model; the optimizer's state stays on disk.
#include "apps/checkpoint_model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <variant>

#include "core/base/log.h"
#include "core/model/initial_weights.h"
#include "core/module/safetensors.h"
#include "core/objective/objective_table.h"
#include "core/train/checkpoint_store.h"
#include "core/train/train_config_file.h"
#include "core/train/trainer.h"
#include "core/train/weight_ema.h"
#include "data/loader.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

/// Whether this model cannot be made without the label table: it has a row for each label, or is refused without any.
bool needs_labels(const TrainConfig& config) {
  return std::holds_alternative<CrossEntropyConfig>(config.objective) ||
         std::holds_alternative<SupConConfig>(config.objective) ||
         std::holds_alternative<LabelEmbeddingConfig>(config.model.text);
}

/// Parameters that were not trained have no average and stay.
void use_averages(Module& module, const fs::path& checkpoint) {
  const c10::NoGradGuard no_grad;
  const SafetensorsReader state(checkpoint / "state.safetensors");
  for (auto& [name, tensor] : module.parameters()) {
    const auto average = WeightEma::kPrefix + name;
    if (state.contains(average)) tensor.copy_(state.read(average));
  }
}

}  // namespace

ChosenCheckpoint choose_checkpoint(const fs::path& path) {
  if (fs::exists(path / "manifest.json")) return {path, verify_checkpoint(path)};
  const CheckpointStore store(path / "checkpoints");
  std::string damage;
  for (const auto step : fs::is_directory(path) ? store.steps() : std::vector<std::int64_t>()) {
    try {
      return {store.path(step), verify_checkpoint(store.path(step))};
    } catch (const CheckpointError& error) {
      damage = error.what();
      log_warning(damage + "; taking the one before it");
    }
  }
  throw CheckpointError(path.string() +
                        " is neither a checkpoint (manifest.json) nor a run directory with a valid one" +
                        (damage.empty() ? "" : ": " + damage));
}

TrainConfig saved_config(const fs::path& path, const std::vector<std::string>& changes) {
  const auto file = path / "config.yaml";
  if (!fs::exists(file)) {
    throw CheckpointError(path.string() + " holds no config.yaml: neither a checkpoint nor a run directory");
  }
  return load_train_config(file, changes);
}

void check_measuring_set(const std::vector<std::string>& settings, const std::string& who) {
  for (const auto& setting : settings) {
    const auto key = setting.substr(0, setting.find_first_of("=."));
    const auto whole = setting.substr(0, setting.find('='));
    const bool means = whole == "train.device" || whole == "train.threads" || whole == "train.timeout_s";
    if (key == "eval" || key == "data" || means) continue;
    throw ConfigError(who + " --set " + setting +
                      ": changes nothing here, the model is the checkpoint's; settable are " +
                      "eval..., data..., train.device, train.threads and train.timeout_s");
  }
}

void check_classes(const ChosenCheckpoint& checkpoint, const std::vector<std::string>& class_names) {
  if (class_names_hash(class_names) == checkpoint.manifest.class_names_xxh64) return;
  throw CheckpointError(checkpoint.folder.string() + ": the training corpora name other classes now (" +
                        std::to_string(class_names.size()) +
                        ", or in another order) than when this checkpoint was written, so that its label numbers mean "
                        "something else; put the class lists back (classes.json in the run directory holds them)");
}

CheckpointModel load_checkpoint_model(const TrainConfig& config, const fs::path& checkpoint, at::Device device,
                                      bool with_labels, Weights weights) {
  CheckpointModel model;
  DataConfig data = config.data;
  // Without a label table the corpora need not exist here: a model can be evaluated where it was not trained.
  if (!with_labels && !needs_labels(config)) {
    data.corpora.clear();
    data.epoch.reset();  // it may name a corpus
  }
  model.facts = CorpusSet(data).facts(config.train.global_batch);
  ModelConfig towers = config.model;
  towers.init_from = {};  // the checkpoint's weights replace whatever training began with
  model.objective = make_objective(config.objective, towers, model.facts,
                                   {.seed = static_cast<std::uint64_t>(config.run.seed),
                                    .device = device,
                                    .parameters = computation_of(config.train).parameters,
                                    .attention = computation_of(config.train).attention});
  try {
    load_initial_weights(model.objective->module(),
                         {.whole = (checkpoint / "model.safetensors").string(), .image = "", .text = ""});
  } catch (const ConfigError& error) {
    throw CheckpointError(error.what());
  }
  if (config.train.ema && weights == Weights::kAveraged) use_averages(model.objective->module(), checkpoint);
  return model;
}

}  // namespace triptych

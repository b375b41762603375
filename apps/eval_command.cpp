// `triptych eval WHAT --checkpoint DIR [CONFIG]`: the run's evaluators on one of its checkpoints.
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>

#include <variant>

#include "apps/checkpoint_model.h"
#include "apps/commands.h"
#include "apps/eval_explain.h"
#include "apps/result.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/eval/evaluator_table.h"
#include "core/objective/embedding.h"
#include "core/train/agreement.h"
#include "core/train/run_environment.h"
#include "core/train/train_config_file.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

/// "zero-shot" on the command line is the evaluator zero_shot.
std::string evaluator_tag(std::string what) {
  std::replace(what.begin(), what.end(), '-', '_');
  return what;
}

std::string tag_of(const auto& section) {
  return std::visit([](const auto& c) { return std::string(c.kTag); }, section);
}

/// The entries of `config.eval` that `what` asks for. Throws ConfigError when there is none.
std::vector<EvalConfig> chosen_entries(const TrainConfig& config, const EvalArguments& arguments) {
  std::vector<EvalConfig> chosen;
  for (const auto& entry : config.eval) {
    if (arguments.what == "all" || tag_of(entry) == evaluator_tag(arguments.what)) chosen.push_back(entry);
  }
  if (chosen.empty()) {
    const std::string where =
        arguments.config.empty() ? "the configuration of " + arguments.checkpoint : arguments.config;
    throw ConfigError("eval: " + where + " has no " +
                      (arguments.what == "all" ? "" : evaluator_tag(arguments.what) + " ") +
                      "entry in its eval section; give a CONFIG that has one");
  }
  return chosen;
}

std::vector<std::unique_ptr<Evaluator>> open_evaluators(const std::vector<EvalConfig>& entries, const DataConfig& data,
                                                        const std::filesystem::path& checkpoint, const Place& place,
                                                        Collectives& comm) {
  std::vector<std::unique_ptr<Evaluator>> evaluators;
  first_of_host_first(comm, place.local_rank == 0, [&] {
    const auto size = image_size(saved_config(checkpoint).model);
    for (const auto& entry : entries) evaluators.push_back(make_evaluator(entry, data, size));
  });
  return evaluators;
}

/// Counts as whole numbers, shares as they are.
Json to_json(const std::vector<Metric>& metrics) {
  Json object = Json::object();
  for (const auto& [name, value] : metrics) {
    const bool count =
        name == "samples" || name == "texts" || name == "classes" || name == "unusable" || name == "bank";
    object[name] = count ? Json(static_cast<std::int64_t>(value)) : Json(value);
  }
  return object;
}

}  // namespace

ExitCode run_command(const EvalArguments& arguments) {
  check_explain_options(arguments);
  check_measuring_set(arguments.set, "eval");
  auto measured = arguments.config.empty() ? saved_config(arguments.checkpoint, arguments.set)
                                           : load_train_config(arguments.config, arguments.set);
  if (!arguments.device.empty()) measured.train.device = arguments.device;
  if (arguments.what == "explain") return eval_explain(arguments, measured);
  const auto entries = chosen_entries(measured, arguments);

  Launch launch({.device = measured.train.device, .timeout_s = measured.train.timeout_s});
  const auto& place = launch.place();
  auto& comm = launch.comm();
  start_log(place.rank, place.size);
  const auto warnings = prepare_computation(measured.train, place, comm);
  if (place.rank == 0) log_warnings(warnings);

  ChosenCheckpoint checkpoint;
  checkpoint.folder = on_root(comm, [&] {
    checkpoint = choose_checkpoint(arguments.checkpoint);
    return checkpoint.folder.string();
  });
  auto evaluators = open_evaluators(entries, measured.data, checkpoint.folder, place, comm);
  bool with_labels = false;
  for (const auto& evaluator : evaluators) with_labels = with_labels || evaluator->needs().classify;
  CheckpointModel model;
  first_of_host_first(comm, place.local_rank == 0, [&] {
    // The run may have been changed since this checkpoint.
    const auto trained = saved_config(checkpoint.folder);
    model = load_checkpoint_model(trained, checkpoint.folder, at::Device(place.device), with_labels,
                                  arguments.last_weights ? Weights::kLast : Weights::kAveraged);
    if (place.rank == 0 && !model.facts.class_names.empty()) check_classes(checkpoint, model.facts.class_names);
    for (const auto& evaluator : evaluators) {
      check_served(*evaluator, model.objective->encoders(), tag_of(trained.objective));
      evaluator->check_labels(model.facts.class_names);
    }
  });

  const c10::NoGradGuard no_grad;
  const auto needs = model.objective->needs();
  EvalScope scope{.comm = comm,
                  .device = at::Device(place.device),
                  .text = needs.form,
                  .image_size = needs.image_size,
                  .workers = static_cast<int>(measured.data.workers),
                  .class_names = model.facts.class_names};
  if (arguments.batch > 0) scope.batch = arguments.batch;
  Json result = {{"checkpoint", checkpoint.folder.string()}, {"step", checkpoint.manifest.step}, {"ranks", place.size}};
  for (const auto& evaluator : evaluators) {
    log_info("evaluating " + evaluator->name());
    const auto metrics = evaluator->run(model.objective->encoders(), scope);
    for (const auto& [name, value] : metrics) {
      if (name != "unusable" || value == 0 || place.rank != 0) continue;
      log_warning("eval " + evaluator->name() + ": " + number_text(value) +
                  " records could not be read and are left out of its numbers; `triptych data verify` names them");
    }
    result[evaluator->name()] = to_json(metrics);
  }
  if (place.rank == 0) print_result(result, arguments.format);
  return ExitCode::kDone;
}

}  // namespace triptych

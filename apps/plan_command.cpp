// `triptych plan CONFIG --ranks N --device h100|a100|cpu`: what a run would take, before there is a machine for it.
#include <algorithm>
#include <thread>

#include "apps/commands.h"
#include "apps/result.h"
#include "core/train/run_plan.h"
#include "core/train/train_config_file.h"
#include "data/loader.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

double mib(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

bool needs_classes(const TrainConfig& config) {
  return std::holds_alternative<CrossEntropyConfig>(config.objective) ||
         std::holds_alternative<SupConConfig>(config.objective) ||
         std::holds_alternative<LabelEmbeddingConfig>(config.model.text);
}

/// The corpora are opened only where the model has a row for each of their classes and --classes does not say how many.
CorpusFacts facts_of(const TrainConfig& config, const PlanArguments& arguments) {
  if (!needs_classes(config) && arguments.classes > 0) {
    throw ConfigError("--classes: got " + std::to_string(arguments.classes) +
                      ", but neither the objective nor model.text has a row for each class; leave it out");
  }
  if (needs_classes(config) && arguments.classes == 0) return CorpusSet(config.data).facts(config.train.global_batch);
  CorpusFacts facts;
  facts.num_labels = arguments.classes;
  facts.captions = static_cast<int>(config.data.captions.all_positive);
  return facts;
}

/// train.threads, or this machine's cores dealt out to the ranks of a machine.
std::int64_t threads_of_rank(const TrainConfig& config, const PlanArguments& arguments) {
  if (config.train.threads > 0) return config.train.threads;
  const auto cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
  return std::max<std::int64_t>(cores / std::min(arguments.ranks, arguments.ranks_per_node), 1);
}

Json memory_json(const RunPlan& plan) {
  const auto& memory = plan.memory;
  return {{"weights", mib(memory.weights)},     {"gradients", mib(memory.gradients)},
          {"optimizer", mib(memory.optimizer)}, {"activations", mib(memory.activations)},
          {"loss", mib(memory.loss)},           {"queue", mib(memory.queue)},
          {"batches", mib(memory.batches)},     {"snapshot", mib(memory.snapshot)},
          {"program", mib(memory.program)},     {"total", mib(memory.total())},
          {"available", mib(plan.available)}};
}

Json work_json(const RunPlan& plan) {
  constexpr double kGiga = 1e9;
  const double first = plan.first_pass_flops / kGiga, forward = plan.forward_flops / kGiga;
  const double backward = plan.backward_flops / kGiga, loss = plan.loss_flops / kGiga;
  return {{"forward", forward},
          {"backward", backward},
          {"first_pass", first},
          {"loss", loss},
          {"training", first + forward + backward + loss}};
}

Json plan_json(const RunPlan& plan, const PlanRequest& request) {
  Json parameters = Json::object(), exchanges = Json::array();
  for (const auto& [part, count] : plan.parameters) parameters[part] = count;
  parameters["trained"] = plan.trained;
  for (const auto& exchange : plan.exchanges)
    exchanges.push_back({{"what", exchange.what}, {"mib_sent", mib(exchange.bytes)}, {"ms", exchange.seconds * 1e3}});
  const auto& device = request.device;
  const auto& precision = request.config.train.precision;
  const bool one_node = request.ranks <= request.ranks_per_node;
  const auto& link = one_node ? device.within : device.across;
  const auto global_batch = plan.local_batch * request.ranks;
  return {{"device", device.name},
          {"ranks", request.ranks},
          {"precision", precision},
          {"global_batch", global_batch},
          {"local_batch", plan.local_batch},
          {"micro_batch", plan.micro_batch},
          {"fits", plan.fits},
          {"largest_micro_batch", plan.largest_micro_batch},
          {"largest_local_batch", plan.largest_local_batch},
          {"parameters", parameters},
          {"gflop_a_sample", work_json(plan)},
          {"mib_a_rank", memory_json(plan)},
          {"exchanges_a_step", exchanges},
          {"time",
           {{"compute_s", plan.compute_s},
            {"communication_s", plan.communication_s},
            {"step_s", plan.step_s},
            {"samples_per_s", static_cast<double>(global_batch) / plan.step_s}}},
          {"assumed",
           {{"tflops_peak", device.peak_flops(precision) / 1e12 * (device.type == at::kCPU ? request.threads : 1)},
            {"utilisation", device.utilisation(precision)},
            {"threads", device.type == at::kCPU ? Json(request.threads) : Json("-")},
            {"link", one_node ? "within a machine" : "across machines"},
            {"link_gb_per_s", link.bytes_per_s / 1e9},
            {"link_latency_us", link.latency_s * 1e6},
            {"text_tokens", request.text_tokens > 0 ? Json(request.text_tokens) : Json("the whole context")}}}};
}

}  // namespace

ExitCode run_command(const PlanArguments& arguments) {
  if (environment_rank() > 0)
    throw ConfigError("plan needs one process for any number of ranks; start it without mpirun");
  const auto config = load_train_config(arguments.config, arguments.set);
  const PlanRequest request{.config = config,
                            .ranks = arguments.ranks,
                            .ranks_per_node = arguments.ranks_per_node,
                            .device = device_facts(arguments.device),
                            .threads = threads_of_rank(config, arguments),
                            .text_tokens = arguments.text_tokens};
  print_result(plan_json(plan_run(request, facts_of(config, arguments)), request), arguments.format);
  return ExitCode::kDone;
}

}  // namespace triptych

// Opens what a run consists of, and describes it.
#include "core/train/run_parts.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "core/base/hash.h"
#include "core/base/strings.h"
#include "core/objective/objective_table.h"
#include "core/train/agreement.h"
#include "core/train/run_plan.h"
#include "core/train/trainer.h"

namespace triptych {
namespace {

std::string tag_of(const ObjectiveConfig& objective) {
  return std::visit([](const auto& config) { return std::string(config.kTag); }, objective);
}

constexpr std::int64_t kShortestText = 2;  // tokens: one word needs its end, in BERT its beginning

std::string row(const std::string& name, const std::string& value) {
  constexpr std::size_t kColumn = 22;
  return "  " + name + std::string(name.size() < kColumn ? kColumn - name.size() : 1, ' ') + value + "\n";
}

std::map<std::string, std::vector<std::string>> ranks_by_host(const std::vector<std::string>& hosts) {
  std::map<std::string, std::vector<std::string>> ranks;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) ranks[hosts[rank]].push_back(std::to_string(rank));
  return ranks;
}

std::string rounded(double value) {
  return number_text(std::round(value * 1e3) / 1e3);
}

std::string size_text(std::int64_t bytes) {
  return human_size(static_cast<std::uint64_t>(bytes));
}

void open_corpora(const TrainRequest& request, const Place& place, Collectives& comm, RunParts& parts) {
  first_of_host_first(comm, place.local_rank == 0,
                      [&] { parts.corpora = std::make_unique<CorpusSet>(request.config.data); });
  check_same_everywhere(comm, "set of corpora", hash_text(parts.corpora->fingerprint()));
}

/// Estimates first and takes memory only when all will fit.
void build_model(const TrainConfig& config, const Place& place, bool resumes, RunParts& parts) {
  const BuildContext context{.seed = static_cast<std::uint64_t>(config.run.seed),
                             .device = parts.device,
                             .parameters = computation_of(config.train).parameters,
                             .attention = computation_of(config.train).attention,
                             .initial_weights = !resumes};
  const auto shapes = objective_on_meta(config, parts.facts);
  const RankShape shape{.ranks = place.size,
                        .rank = place.rank,
                        .local_batch = parts.plan.local_batch,
                        .micro_batch = parts.plan.micro_batch,
                        .classes = parts.facts.num_labels,
                        .device = parts.device.type()};
  parts.trace = trace_step(*shapes, config, shape);
  parts.memory = estimate_memory(*shapes, config, shape, parts.trace);
  const SharedMemory memory{.bytes = total_memory(parts.device),
                            .sharers = parts.device.is_cpu() ? place.local_size : 1};
  if (!memory.holds(parts.memory)) {  // with all texts at full length: what they have is not known yet
    const auto shortest = objective_on_meta(with_text_tokens(config, kShortestText), parts.facts);
    const auto least = estimate_memory(*shapes, config, shape, trace_step(*shortest, config, shape));
    check_memory(least, memory, config, parts.plan.micro_batch);
    parts.warnings.push_back("memory: a rank may need " + human_size(static_cast<std::uint64_t>(parts.memory.total())) +
                             " where texts have their full length, and has " +
                             human_size(static_cast<std::uint64_t>(memory.bytes / memory.sharers)) +
                             "; should the run end for want of memory, lower train.micro_batch");
  }
  parts.objective = make_objective(config.objective, config.model, parts.facts, context);
}

/// Bits depend on the number of threads, which would follow the number of ranks.
void warn_of_automatic_threads(const TrainConfig& config, RunParts& parts) {
  if (config.distributed.virtual_shards == 0 || config.train.threads > 0 || !parts.device.is_cpu()) return;
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return;
  parts.warnings.push_back(
      "distributed.virtual_shards: train.threads is 0, so another number of ranks will have other threads and other "
      "bits; set train.threads");
}

}  // namespace

RunParts open_parts(const TrainRequest& request, const Place& place, Collectives& comm, bool resumes) {
  const auto& config = request.config;
  check_same_everywhere(comm, "program", program_identity());
  check_same_everywhere(comm, "configuration", hash_text(xxh64(request.config_text)));
  RunParts parts;
  parts.device = at::Device(place.device);
  parts.warnings = prepare_computation(config.train, place, comm);
  warn_of_automatic_threads(config, parts);
  parts.compute = compute_facts(place);
  check_same_everywhere(comm, "number of threads", std::to_string(parts.compute.threads));
  check_same_everywhere(comm, "instruction set", parts.compute.instruction_set);
  open_corpora(request, place, comm, parts);
  agreed(comm, [&] {
    parts.facts = parts.corpora->facts(config.train.global_batch);
    parts.plan = plan_steps(config, place.size, parts.facts.records_per_epoch);
    build_model(config, place, resumes, parts);
  });
  first_of_host_first(comm, place.local_rank == 0, [&] {
    parts.evaluations = std::make_unique<Evaluations>(config, *parts.objective, parts.plan, parts.facts.class_names);
  });
  return parts;
}

std::unique_ptr<Loader> make_loader(const TrainRequest& request, const Place& place, const RunParts& parts,
                                    Collectives& comm) {
  std::unique_ptr<Loader> loader;
  agreed(comm, [&] {
    loader = std::make_unique<Loader>(*parts.corpora, request.config.data, parts.objective->needs(),
                                      static_cast<std::uint64_t>(request.config.run.seed),
                                      LoaderPart{.rank = place.rank,
                                                 .size = place.size,
                                                 .local_batch = parts.plan.local_batch,
                                                 .micro_batch = parts.plan.micro_batch});
  });
  return loader;
}

std::string settings_table(const TrainRequest& request, const Place& place, const RunParts& parts,
                           const std::vector<std::string>& hosts) {
  const auto& config = request.config;
  const auto& plan = parts.plan;
  std::string table;
  table += row("run", config.run.name + ", seed " + std::to_string(config.run.seed));
  table += row("ranks", std::to_string(place.size) + " (" + place.launcher + "), " + parts.compute.device + ", " +
                            std::to_string(parts.compute.threads) + " threads each, " + parts.compute.instruction_set);
  for (const auto& [host, ranks] : ranks_by_host(hosts)) {
    table +=
        row("host " + host, "ranks " + join(ranks, " ") + ", local ranks 0 to " + std::to_string(ranks.size() - 1));
  }
  for (const auto& corpus : parts.corpora->corpora()) {
    table += row("corpus " + corpus->config().name, human_count(corpus->size()) + " records, " + corpus->config().kind);
  }
  table += row("epoch", human_count(parts.facts.records_per_epoch) + " samples, " +
                            human_count(parts.facts.num_labels) + " labels, " + config.data.mixing);
  table += row("batch", std::to_string(plan.geometry.global_batch) + " = " + std::to_string(place.size) + " ranks x " +
                            std::to_string(plan.local_batch / plan.micro_batch) + " micro-batches x " +
                            std::to_string(plan.micro_batch) + " rows");
  if (const auto shards = config.distributed.virtual_shards; shards > 0) {
    table += row("virtual shards",
                 std::to_string(shards) + ": the same bits on any number of ranks that divides them, at " +
                     std::to_string(parts.compute.threads) + " threads each; every rank computes the loss of all rows");
  }
  table += row("steps", human_count(plan.total_steps) + " (" + config.schedule.total.text() + "), warm-up " +
                            human_count(plan.warmup_steps));
  table += row("objective", tag_of(config.objective) + ", " + config.train.precision);
  for (const auto& [name, count] : parameters_by_tower(parts.objective->module())) {
    table += row(name, human_count(count) + " parameters");
  }
  table += row("learning rate", number_text(config.optimizer.lr) + ", " + config.schedule.shape + ", decay " +
                                    number_text(config.optimizer.weight_decay) + ", clip " +
                                    number_text(config.optimizer.clip_norm));
  const auto& memory = parts.memory;
  table +=
      row("memory a rank", "about " + size_text(memory.total()) + ": weights " + size_text(memory.weights) +
                               ", gradients " + size_text(memory.gradients) + ", optimizer " +
                               size_text(memory.optimizer) + ", activations " + size_text(memory.activations) +
                               ", loss " + size_text(memory.loss) + ", batches " + size_text(memory.batches) +
                               ", snapshot " + size_text(memory.snapshot) + ", program " + size_text(memory.program));
  const double rows = 1e9 * static_cast<double>(plan.micro_batch);
  table += row("work a sample", rounded(parts.trace.forward_flops / rows) + " GFLOP forward, " +
                                    rounded(parts.trace.backward_flops / rows) + " backward, texts at full length");
  return table;
}

}  // namespace triptych

// Sums of bytes. What happens when, as trainer, gradient cache and losses do it, decides what is held at the same time.
#include "core/train/memory_estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "core/objective/objective_table.h"
#include "core/train/device_table.h"
#include "core/train/parameter_rules.h"
#include "core/train/trainer.h"
#include "distributed/shard_tree.h"

namespace triptych {
namespace {

std::int64_t bytes_of(const at::Tensor& tensor) {
  return tensor.numel() * static_cast<std::int64_t>(tensor.element_size());
}

/// Bytes of a model's tensors.
struct ModelBytes {
  std::int64_t state = 0;    ///< parameters and buffers
  std::int64_t trained = 0;  ///< parameters that get gradients
  std::int64_t largest = 0;  ///< of the trained
};

ModelBytes model_bytes(const Module& module) {
  ModelBytes bytes;
  for (const auto& [name, tensor] : module.buffers()) bytes.state += bytes_of(tensor);
  for (const auto& [name, tensor] : module.parameters()) {
    bytes.state += bytes_of(tensor);
    if (!tensor.requires_grad()) continue;
    bytes.trained += bytes_of(tensor);
    bytes.largest = std::max(bytes.largest, bytes_of(tensor));
  }
  return bytes;
}

/// Bytes of what an objective remembers beside its model.
class RememberedBytes : public StateVisitor {
 public:
  explicit RememberedBytes(Objective& objective) {
    objective.visit_state(*this);
    averages -= model_bytes(objective.module()).state;
  }
  std::int64_t averages = 0, queues = 0;  ///< momentum encoders; rings of embeddings
  void tensor(const std::string& name, at::Tensor& tensor) override {
    (name.starts_with("queue.") ? queues : averages) += bytes_of(tensor);
  }
  void integer(const std::string&, std::int64_t&) override {}
  void real(const std::string&, double&) override {}
  void text(const std::string&, std::string&) override {}
};

/// Sharding deals out whole tensors: no rank has less than the largest.
std::int64_t moments(const ModelBytes& model, const TrainConfig& config, const RankShape& shape) {
  if (!config.optimizer.shard || shape.ranks == 1) return 2 * model.trained;
  return 2 * std::max((model.trained + shape.ranks - 1) / shape.ranks, model.largest);
}

/// With virtual shards: those of the shard that is differentiated, the sums that wait for others, what is gathered.
std::int64_t gradients(const ModelBytes& model, const TrainConfig& config, const RankShape& shape, bool twice) {
  const auto shards = config.distributed.virtual_shards;
  if (shards == 0) return model.trained * (twice ? 2 : 1);
  const auto sums = model.trained * most_shard_sums(shards, shape.ranks);
  if (shape.ranks == 1) return sums;
  const auto gathered =
      std::min(ShardTree::kGatherBytes, model.trained * shape.ranks * most_nodes_sent(shards, shape.ranks));
  return sums + gathered + gathered / shape.ranks;
}

std::int64_t batch_bytes(const BatchSpec& spec, std::int64_t rows) {
  const std::int64_t pictures = 3LL * spec.views * spec.image_size * spec.image_size;
  const std::int64_t texts = spec.text ? 8LL * spec.captions * spec.form.context : 0;
  return rows * (pictures + texts);
}

/// Patches of a picture's side, where the image tower has them.
std::int64_t grid_of(const ModelConfig& model) {
  const auto* vit = std::get_if<VitConfig>(&model.image);
  return vit == nullptr ? 0 : vit->image_size / vit->patch_size;
}

}  // namespace

std::unique_ptr<Objective> objective_on_meta(const TrainConfig& config, const CorpusFacts& facts) {
  auto objective = make_objective(config.objective, config.model, facts,
                                  {.seed = static_cast<std::uint64_t>(config.run.seed),
                                   .device = at::kMeta,
                                   .parameters = computation_of(config.train).parameters,
                                   .initial_weights = false});
  freeze_parameters(config.optimizer, objective->module().parameters());
  return objective;
}

StepTrace trace_step(Objective& on_meta, const TrainConfig& config, const RankShape& shape) {
  return trace_step(on_meta, {.computation = computation_of(config.train),
                              .device = shape.device,
                              .rows = shape.micro_batch,
                              .ranks = shape.ranks});
}

MemoryEstimate estimate_memory(Objective& on_meta, const TrainConfig& config, const RankShape& shape,
                               const StepTrace& trace) {
  const auto spec = on_meta.needs();
  const auto model = model_bytes(on_meta.module());
  const RememberedBytes remembered(on_meta);
  const bool cpu = shape.device == at::kCPU, several = shape.micro_batch < shape.local_batch;
  const bool flat = on_meta.sync_form() == SyncForm::kFlat;
  const auto loss = loss_cost(config, spec, shape_of_loss(config, shape));
  MemoryEstimate estimate;
  estimate.weights = model.state + remembered.averages + (config.train.ema ? model.trained : 0);
  estimate.queue = remembered.queues;
  estimate.gradients = gradients(model, config, shape, several || flat);
  estimate.optimizer = moments(model, config, shape);
  estimate.activations =
      trace.peak + (cpu ? static_cast<std::int64_t>(kAllocatorSlack * static_cast<double>(trace.peak)) : 0);
  // The loss runs beside what the towers keep, or before they run again, and leaves some of its rows until the end.
  const auto at_loss = loss.peak + (loss.rows_meet && several ? 0 : trace.kept), at_towers = loss.kept + trace.peak,
             beside_towers = loss.kept + trace.kept + loss.beside;
  estimate.loss = std::max({at_loss, at_towers, beside_towers}) - trace.peak;
  estimate.batches = batch_bytes(spec, shape.local_batch) * (cpu ? config.data.prefetch + 1 : 2);
  if (cpu && shape.rank == 0) {
    estimate.snapshot = model.state + remembered.averages + remembered.queues + 2 * model.trained +
                        (config.train.ema ? model.trained : 0);
  }
  estimate.program = cpu ? kProgramBytes : kGpuContextBytes;
  return estimate;
}

RankShape shape_of_loss(const TrainConfig& config, RankShape shape) {
  if (config.distributed.virtual_shards == 0) return shape;
  shape.local_batch *= std::exchange(shape.ranks, 1);
  return shape;
}

LossCost loss_cost(const TrainConfig& config, const BatchSpec& spec, const RankShape& shape) {
  const auto computation = computation_of(config.train);
  return loss_cost(config.objective, spec,
                   {.ranks = shape.ranks,
                    .local_batch = shape.local_batch,
                    .micro_batch = shape.micro_batch,
                    .classes = shape.classes,
                    .embed_dim = config.model.embed_dim,
                    .grid = grid_of(config.model),
                    .parameters = computation.parameters,
                    .products = computation.products(),
                    .device = shape.device});
}

TrainConfig with_text_tokens(TrainConfig config, std::int64_t tokens) {
  if (tokens == 0) return config;
  const auto shorten = [&](auto& tower) {
    if constexpr (requires { tower.trim; }) {
      if (!tower.trim) return;
    }
    if constexpr (requires { tower.context; }) tower.context = std::min(tower.context, tokens);
  };
  std::visit(shorten, config.model.text);
  return config;
}

void check_memory(const MemoryEstimate& estimate, const SharedMemory& memory, const TrainConfig& config,
                  std::int64_t micro_batch) {
  if (memory.holds(estimate)) return;
  const auto size = [](std::int64_t bytes) { return human_size(static_cast<std::uint64_t>(bytes)); };
  const auto available = memory.bytes / memory.sharers, rows = estimate.batches + estimate.loss;
  const auto state = estimate.weights + estimate.gradients + estimate.optimizer + estimate.snapshot;
  const bool model = state > available;
  const bool batch = rows > available || rows > estimate.activations;
  const std::string key = model   ? std::string("model:")
                          : batch ? "train.global_batch: " + std::to_string(config.train.global_batch)
                                  : "train.micro_batch: " + std::to_string(micro_batch);
  throw ConfigError(key + " needs about " + size(estimate.total()) +
                    " a rank (weights, gradients, optimizer and their copy for checkpoints " + size(state) +
                    ", activations " + size(estimate.activations) + ", loss " + size(estimate.loss) + ", batches " +
                    size(estimate.batches) + ", program " + size(estimate.program) + "), a rank has " +
                    size(available) + (model ? "; shrink the model" : "; lower it, or shrink the model"));
}

}  // namespace triptych

// Arithmetic of memory. A transformer block keeps for backward, per token: two norms, packed q, k, v, attention's
// output, two residual sums (8 widths) and the hidden layer before and after its activation (2 mlp_ratio widths).
#include "core/train/memory_estimate.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "core/train/trainer.h"

namespace triptych {
namespace {

constexpr double kBeyondAnyMachine = 1e17;  // bytes; eight of them still fit int64

template <class Tower>
double tokens_of(const Tower& tower) {
  if constexpr (requires { tower.patch_size; }) {
    const double side = static_cast<double>(tower.image_size) / static_cast<double>(tower.patch_size);
    return side * side + 1;
  } else if constexpr (requires { tower.context; }) {
    return static_cast<double>(tower.context);
  } else {
    return 0;
  }
}

/// Values that one row keeps for backward.
template <class Tower>
double values_per_row(const Tower& tower) {
  if constexpr (requires { tower.width, tower.depth, tower.mlp_ratio; }) {
    return tokens_of(tower) * static_cast<double>(tower.width) * static_cast<double>(tower.depth) *
           (8 + 2 * tower.mlp_ratio);
  } else {
    return 0;
  }
}

}  // namespace

MemoryEstimate estimate_memory(const TrainConfig& config, const StepPlan& plan, Objective& objective, int rank,
                               std::int64_t classes) {
  const auto precision = computation_of(config.train);
  const double bytes = static_cast<double>(c10::elementSize(precision.parameters));
  const double compute_bytes = static_cast<double>(c10::elementSize(precision.compute));
  const auto whole = [](double value) { return static_cast<std::int64_t>(std::min(value, kBeyondAnyMachine)); };
  const double parameters = static_cast<double>(objective.module().parameter_count());
  const auto spec = objective.needs();
  const double texts = spec.text ? static_cast<double>(spec.captions) : 0, views = static_cast<double>(spec.views);
  const double values =
      views * std::visit([](const auto& tower) { return values_per_row(tower); }, config.model.image) +
      texts * std::visit([](const auto& tower) { return values_per_row(tower); }, config.model.text);
  // Contrastive losses hold the embeddings of all rows, with what autograd adds; a classifier the scores of a
  // micro-batch.
  const bool contrastive = spec.text || spec.views > 1;
  const double embeddings = 4 * (spec.text ? 1 + texts : views) * static_cast<double>(config.model.embed_dim) *
                            static_cast<double>(plan.geometry.global_batch);
  const double scores = 6 * static_cast<double>(classes) * static_cast<double>(plan.micro_batch);
  const double picture = 3.0 * static_cast<double>(spec.views * spec.image_size * spec.image_size);
  MemoryEstimate estimate;
  const double averages = config.train.ema ? 1 : 0;
  estimate.gradients = estimate.buckets = whole(parameters * bytes);
  estimate.weights = whole((1 + averages) * parameters * bytes);
  estimate.optimizer = whole(2 * parameters * bytes);
  estimate.snapshot = rank == 0 ? whole((3 + averages) * parameters * bytes) : 0;
  estimate.activations = whole(values * compute_bytes * static_cast<double>(plan.micro_batch) +
                               picture * bytes * static_cast<double>(plan.micro_batch));
  estimate.loss = whole((contrastive ? embeddings : scores) * bytes);
  estimate.batches =
      whole(picture * static_cast<double>(plan.local_batch) * static_cast<double>(config.data.prefetch + 1));
  return estimate;
}

void check_memory(const MemoryEstimate& estimate, std::int64_t available, const TrainConfig& config,
                  std::int64_t micro_batch) {
  if (estimate.total() <= available) return;
  const auto size = [](std::int64_t bytes) { return human_size(static_cast<std::uint64_t>(bytes)); };
  const auto rows = estimate.batches + estimate.loss, parameters = estimate.total() - rows - estimate.activations;
  const bool model = parameters > available;
  const bool batch = rows > available || rows > estimate.activations;
  const std::string key = model   ? std::string("model:")
                          : batch ? "train.global_batch: " + std::to_string(config.train.global_batch)
                                  : "train.micro_batch: " + std::to_string(micro_batch);
  throw ConfigError(key + " needs about " + size(estimate.total()) + " a rank (weights, gradients and optimizer " +
                    size(parameters) + ", activations " + size(estimate.activations) + ", loss " + size(estimate.loss) +
                    ", batches " + size(estimate.batches) + "), a rank has " + size(available) +
                    (model ? "; shrink the model" : "; lower it, or shrink the model"));
}

}  // namespace triptych

// Rows are counted in bytes of a row: d values of the parameters' type, or of the products'.
#include "core/train/loss_cost.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/objective/objective_table.h"
#include "core/train/memory_estimate.h"
#include "core/train/trainer.h"
#include "losses/tile_sweep.h"

namespace triptych {
namespace {

constexpr std::int64_t kGpuTiles = 8;       // element-wise work is done by tensor operations there
constexpr std::int64_t kNumbersARow = 128;  // bytes: labels, shares, sums of a row in fp64

struct Rows {
  std::int64_t own = 0, all = 0, d = 0;  ///< of this rank, of all ranks; values of a row
  std::int64_t wide = 4, narrow = 4;     ///< bytes of a value: parameters' type, products'
  at::ScalarType products = at::kFloat;
  bool alone = true, on_cpu = true;
};

Rows rows_of(const TrainConfig& config, const RankShape& shape, std::int64_t rows_a_sample) {
  const auto computation = computation_of(config.train);
  const auto size = [](at::ScalarType type) { return static_cast<std::int64_t>(c10::elementSize(type)); };
  return {.own = shape.local_batch * rows_a_sample,
          .all = shape.local_batch * shape.ranks * rows_a_sample,
          .d = config.model.embed_dim,
          .wide = size(computation.parameters),
          .narrow = size(computation.products()),
          .products = computation.products(),
          .alone = shape.ranks == 1,
          .on_cpu = shape.device == at::kCPU};
}

/// A tile of products, and what its own products with rows take: bf16 on the CPU rounds and packs the factors.
std::int64_t tile_bytes(const Rows& rows) {
  const auto size = TileSize::of(rows.products);
  const auto height = std::min(size.rows, rows.own), width = std::min(size.columns, rows.all);
  const auto tile = height * width * rows.wide;
  if (!rows.on_cpu) return kGpuTiles * tile;
  const bool packs = rows.products == at::kBFloat16;
  return tile + (packs ? (2 * height * width + (2 * width + height) * rows.d) * rows.narrow : 0);
}

enum class Others { kNone, kGathered, kInRing };  ///< how the rows of other ranks are met

/// What all contrastive losses hold: leaves and their gradients, rows in the products' type; of other ranks all at once
/// or, in a ring, a block and the next.
LossCost contrastive(const Rows& rows, const RankShape& shape, Others others) {
  LossCost cost;
  const bool several = shape.micro_batch < shape.local_batch;
  const auto leaves = rows.own * rows.d * rows.wide, all = rows.all * rows.d * rows.narrow;
  const auto block = rows.own * rows.d * rows.narrow, rounded = rows.narrow != rows.wide ? block : 0;
  cost.kept = 2 * leaves + rounded + kNumbersARow * rows.all + (several ? leaves : 0);
  if (others == Others::kGathered) cost.kept += all;
  cost.peak = cost.kept + tile_bytes(rows) + (others == Others::kInRing ? 2 * block : 0);
  if (!rows.alone && others == Others::kGathered) cost.embeddings = all;
  if (others == Others::kInRing) cost.embeddings = 2 * all;  // once in the forward, once in the backward
  return cost;
}

double products(std::int64_t left, std::int64_t right, std::int64_t d) {
  return 2.0 * static_cast<double>(left) * static_cast<double>(right) * static_cast<double>(d);
}

/// Images and texts: a sweep for the softmaxes, one for the gradients. One rank gets both directions from each; several
/// complete each direction by itself.
LossCost pair(const TrainConfig& config, const BatchSpec& spec, const RankShape& shape, bool softmax, Exchange exchange) {
  const std::int64_t texts = spec.text ? spec.captions : 1;
  const Rows rows = rows_of(config, shape, 1 + texts);
  const auto others = exchange == Exchange::kRing ? Others::kInRing : Others::kGathered;
  LossCost cost = contrastive(rows, shape, rows.alone ? Others::kNone : others);
  const double sweep = products(shape.local_batch, shape.local_batch * shape.ranks * texts, rows.d);
  // Softmax: products; then products again and the gradient of each side. Sigmoid: one sweep does both.
  const double alone = softmax ? 4 : 3, several = softmax ? 6 : 4;
  cost.flops = sweep * (rows.alone ? alone : several);
  if (!rows.alone) cost.sums = rows.all * ((softmax ? 2 * rows.wide : 0) + 8);
  return cost;
}

LossCost views(const TrainConfig& config, const BatchSpec& spec, const RankShape& shape) {
  const Rows rows = rows_of(config, shape, spec.views);
  LossCost cost = contrastive(rows, shape, Others::kGathered);
  cost.flops = 3 * products(rows.own, rows.all, rows.d);
  if (!rows.alone) cost.sums = rows.all * (2 * rows.wide + 8);
  return cost;
}

/// Rows do not meet: log-softmax, its gradient and that of the scores, for a micro-batch.
LossCost classes(const TrainConfig& config, const RankShape& shape) {
  const auto size = static_cast<std::int64_t>(c10::elementSize(computation_of(config.train).parameters));
  LossCost cost;
  cost.rows_meet = false;
  cost.peak = 3 * shape.micro_batch * shape.classes * size;
  return cost;
}

}  // namespace

LossCost loss_cost(const TrainConfig& config, const BatchSpec& spec, const RankShape& shape) {
  const auto cost_of = [&](const auto& objective) {
    using Config = std::decay_t<decltype(objective)>;
    if constexpr (std::is_same_v<Config, CrossEntropyConfig>)
      return classes(config, shape);
    else if constexpr (std::is_same_v<Config, SupConConfig>)
      return views(config, spec, shape);
    else if constexpr (std::is_same_v<Config, SigLipConfig>)
      return pair(config, spec, shape, false, Exchange::kGather);
    else
      return pair(config, spec, shape, true, exchange_of(objective.exchange));
  };
  return std::visit(cost_of, config.objective);
}

}  // namespace triptych

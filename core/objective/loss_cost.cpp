// One overload an objective, and no other: a new objective does not compile without its own. Rows are counted in bytes
// of a row: d values of the parameters' type, or of the products'.
#include "core/objective/loss_cost.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <variant>

#include "core/objective/objective_table.h"
#include "losses/local_contrast.h"
#include "losses/tile_sweep.h"

namespace triptych {
namespace {

constexpr std::int64_t kGpuTiles = 8;       // element-wise work is done by tensor operations there
constexpr std::int64_t kNumbersARow = 128;  // bytes: labels, shares, sums of a row in fp64
constexpr std::int64_t kLabelBytes = 8;

std::int64_t size_of(at::ScalarType type) {
  return static_cast<std::int64_t>(c10::elementSize(type));
}

double products(std::int64_t left, std::int64_t right, std::int64_t d) {
  return 2.0 * static_cast<double>(left) * static_cast<double>(right) * static_cast<double>(d);
}

/// A tile of products, and what its own products with rows take: bf16 on the CPU rounds and packs the factors.
std::int64_t tile_bytes(const LossShape& shape, std::int64_t queries, std::int64_t keys) {
  const auto size = TileSize::of(shape.products, shape.device);
  const auto height = std::min(size.rows, queries), width = std::min(size.columns, keys);
  const auto tile = height * width * size_of(shape.parameters);
  if (shape.device != at::kCPU) return kGpuTiles * tile;
  const bool packs = shape.products == at::kBFloat16;
  return tile + (packs ? (2 * height * width + (2 * width + height) * shape.embed_dim) * size_of(shape.products) : 0);
}

enum class Others { kNone, kGathered, kInRing };  ///< how the rows of other ranks are met

/// What all contrastive losses hold: leaves and their gradients, rows in the products' type; of other ranks all at once
/// (while they are gathered, images and texts interleaved, twice) or, in a ring, a block and the next. `own`: this
/// rank's rows of both sides.
LossCost contrastive(const LossShape& shape, std::int64_t own, std::int64_t tile, Others others) {
  const auto values = own * shape.embed_dim, block = values * size_of(shape.products), all = block * shape.ranks;
  const auto leaves = values * size_of(shape.parameters);
  const bool several = shape.micro_batch < shape.local_batch, rounds = shape.products != shape.parameters;
  LossCost cost;
  cost.kept = 2 * leaves + (rounds ? block : 0) + kNumbersARow * own * shape.ranks + (several ? leaves : 0);
  cost.peak = cost.kept + tile + (others == Others::kInRing ? 2 * block : 0);
  if (others == Others::kInRing) {
    cost.embeddings = 2 * all;  // once in the forward, once in the backward, images and texts by themselves
    cost.embedding_messages = 4;
  }
  if (others == Others::kGathered) {
    cost.peak = cost.kept + all + std::max(tile, shape.ranks > 1 ? all : 0);
    cost.kept += all;
    cost.embeddings = shape.ranks > 1 ? all : 0;
  }
  return cost;
}

/// Images and texts. One rank: a sweep for the softmaxes, one for both gradients. Several complete each side by itself:
/// `directions` sweeps for the softmaxes, then products and a gradient for each side. Sigmoid: one sweep does both.
LossCost pair(const BatchSpec& spec, const LossShape& shape, Exchange exchange, std::int64_t directions,
              bool softmax = true) {
  const auto texts = spec.text ? static_cast<std::int64_t>(spec.captions) : 1;
  const auto keys = shape.local_batch * texts * shape.ranks;
  const bool alone = shape.ranks == 1;
  const auto others = alone ? Others::kNone : exchange == Exchange::kRing ? Others::kInRing : Others::kGathered;
  LossCost cost =
      contrastive(shape, shape.local_batch * (1 + texts), tile_bytes(shape, shape.local_batch, keys), others);
  const double sweeps = softmax ? (alone ? 4.0 : 4.0 + static_cast<double>(directions)) : (alone ? 3.0 : 4.0);
  cost.flops = sweeps * products(shape.local_batch, keys, shape.embed_dim);
  return cost;
}

std::int64_t all_rows(const LossShape& shape) {
  return shape.local_batch * shape.ranks;
}

LossCost of(const UniclConfig& config, const BatchSpec& spec, const LossShape& shape) {
  const auto directions = directions_of(config);
  const bool rows = directions != UniclDirections::kColumns, columns = directions != UniclDirections::kRows;
  const auto texts = spec.text ? static_cast<std::int64_t>(spec.captions) : 1;
  LossCost cost = pair(spec, shape, exchange_of(config.exchange), static_cast<std::int64_t>(rows) + (columns ? 1 : 0));
  const auto stats = 2 * size_of(shape.parameters) * ((rows ? 1 : 0) + (columns ? texts : 0));
  if (shape.ranks > 1) cost.sums = all_rows(shape) * (stats + kLabelBytes);
  return cost;
}

LossCost of(const ClipConfig& config, const BatchSpec& spec, const LossShape& shape) {
  LossCost cost = pair(spec, shape, exchange_of(config.exchange), 2);
  if (shape.ranks > 1) cost.sums = all_rows(shape) * 2 * 2 * size_of(shape.parameters);
  return cost;
}

LossCost of(const SigLipConfig&, const BatchSpec& spec, const LossShape& shape) {
  return pair(spec, shape, Exchange::kGather, 2, /*softmax=*/false);
}

LossCost of(const SupConConfig&, const BatchSpec& spec, const LossShape& shape) {
  const auto own = shape.local_batch * spec.views, all = own * shape.ranks;
  LossCost cost = contrastive(shape, own, tile_bytes(shape, own, all), Others::kGathered);
  cost.flops = 3 * products(own, all, shape.embed_dim);
  if (shape.ranks > 1) cost.sums = all * 2 * size_of(shape.parameters) + all_rows(shape) * kLabelBytes;
  return cost;
}

/// Local contrast of a micro-batch's rows with the patches and words of those that they meet. First patches are
/// projected and made unit by their norms, beside the words, then pooled; the locals of both sides stay, words once
/// more without their padding, and of a block of rows the logits and their exponentials.
void add_locals(LossCost& cost, const TclConfig& config, const BatchSpec& spec, const LossShape& shape) {
  if (config.weights.lmi == 0) return;
  const auto side = config.lmi.pool == "cells" ? config.lmi.cells : published_cells(shape.grid);
  const auto patches = side * side, words = spec.form.context - 1;
  const auto meet = shape.micro_batch * (config.negatives == "global" ? shape.ranks : 1);
  const auto value = size_of(shape.parameters), row = shape.embed_dim * value;
  cost.flops += 2 * products(shape.local_batch, meet * (patches + words), shape.embed_dim);
  const auto cells = shape.grid * shape.grid,
             projected = shape.micro_batch * (cells * (2 * row + 2 * value) + words * row);
  const auto logits = 2 * std::min(kLocalBlockRows, shape.micro_batch) * meet * value;  // of one local of each row
  const auto blocks = std::max(logits * patches, logits * words + meet * words * row);
  cost.beside = std::max(projected, meet * (patches + words) * row + blocks);
}

/// Rows meet the queue and, without gradient, each other: student and teacher of both cross-modal directions take a
/// sweep of softmaxes each and share one of gradients (two products and the sum), the intra-modal ones a sweep each.
LossCost of(const TclConfig& config, const BatchSpec& spec, const LossShape& shape) {
  const auto rows = config.negatives == "global" ? all_rows(shape) : shape.local_batch, keys = rows + config.queue;
  const double products_a_side = 5 + (config.weights.imc > 0 ? 3 : 0);
  const auto values = 2 * shape.local_batch * shape.embed_dim, bytes = values * size_of(shape.parameters);
  LossCost cost;
  cost.flops = 2 * products_a_side * products(shape.local_batch, keys, shape.embed_dim);
  cost.kept = 3 * bytes + bytes * shape.ranks;  // leaves, their gradients, the teacher's; all ranks' for the queue
  cost.peak = cost.kept + 2 * tile_bytes(shape, shape.local_batch, keys);
  if (shape.products != shape.parameters) cost.peak += keys * shape.embed_dim * size_of(shape.products);
  if (shape.ranks > 1) cost.embeddings = bytes * shape.ranks;
  if (shape.ranks > 1) cost.sums = all_rows(shape) * kLabelBytes;
  add_locals(cost, config, spec, shape);
  return cost;
}

/// Only the contrast meets other ranks' rows.
LossCost of(const LoupeConfig&, const BatchSpec& spec, const LossShape& shape) {
  return of(ClipConfig{}, spec, shape);
}

/// Rows do not meet: log-softmax, its gradient and that of the scores, for a micro-batch.
LossCost of(const CrossEntropyConfig&, const BatchSpec&, const LossShape& shape) {
  LossCost cost;
  cost.rows_meet = false;
  cost.peak = 3 * shape.micro_batch * shape.classes * size_of(shape.parameters);
  return cost;
}

}  // namespace

LossCost loss_cost(const ObjectiveConfig& objective, const BatchSpec& spec, const LossShape& shape) {
  return std::visit([&](const auto& config) { return of(config, spec, shape); }, objective);
}

}  // namespace triptych

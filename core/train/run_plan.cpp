// Counts from the trace, times from the device's row of the table.
#include "core/train/run_plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <map>

#include "core/base/errors.h"
#include "core/train/run_environment.h"
#include "core/train/trainer.h"
#include "distributed/gradient_sync.h"
#include "distributed/shard_tree.h"

namespace triptych {
namespace {

void check_text_tokens(const ModelConfig& model, std::int64_t tokens) {
  if (tokens == 0) return;
  const auto check = [&](const auto& tower) {
    const std::string given = "--text-tokens: got " + std::to_string(tokens);
    if constexpr (requires { tower.trim; }) {
      if (!tower.trim)
        throw ConfigError(given +
                          ", but model.text.trim is false: texts always have their whole context; leave it out");
    }
    if constexpr (requires { tower.context; }) {
      if (tokens > tower.context)
        throw ConfigError(given + ", but model.text.context is " + std::to_string(tower.context) +
                          "; use at most that");
    } else {
      throw ConfigError(given + ", but the model takes no texts; leave it out");
    }
  };
  std::visit(check, model.text);
}

/// The time model, with the slowest link of the ring.
class Ring {
 public:
  Ring(const PlanRequest& request)
      : ranks_(static_cast<double>(request.ranks)),
        link_(request.ranks <= request.ranks_per_node ? request.device.within : request.device.across) {}
  /// Every rank gets all of `bytes`, of which it had its share.
  PlannedExchange all_gather(const std::string& what, std::int64_t bytes, std::int64_t pieces = 1) const {
    return exchange(what, bytes, 1, pieces);
  }
  /// `pieces`: started one by one, each with its own latency.
  PlannedExchange all_reduce(const std::string& what, std::int64_t bytes, std::int64_t pieces) const {
    return exchange(what, bytes, 2, pieces);
  }

 private:
  PlannedExchange exchange(const std::string& what, std::int64_t bytes, double rounds, std::int64_t pieces) const {
    const double size = static_cast<double>(bytes), others = ranks_ - 1;
    return {what, static_cast<std::int64_t>(rounds * size * others / ranks_),
            rounds * others * (static_cast<double>(pieces) * link_.latency_s + size / (ranks_ * link_.bytes_per_s))};
  }

  double ranks_;
  LinkFacts link_;
};

/// The largest number for which `fits` holds, if it holds for all below; 0: none.
std::int64_t largest(const std::function<bool(std::int64_t)>& fits) {
  constexpr std::int64_t kMost = 1LL << 24;
  if (!fits(1)) return 0;
  std::int64_t good = 1, bad = 2;
  while (bad < kMost && fits(bad)) good = bad, bad *= 2;
  while (bad - good > std::max<std::int64_t>(good / 64, 1)) {
    const auto middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

SharedMemory memory_of(const PlanRequest& request) {
  if (request.device.memory > 0) return {request.device.memory, 1};
  return {total_memory(at::kCPU), std::min(request.ranks, request.ranks_per_node)};
}

/// Embeddings in their own type, labels, and the nodes of every rank's shards: nothing hides behind a backward.
std::vector<PlannedExchange> exchanges_of_shards(const PlanRequest& request, const LossCost& loss,
                                                 std::int64_t gradients) {
  const auto shards = request.config.distributed.virtual_shards;
  const auto computation = computation_of(request.config.train);
  const auto wide = c10::elementSize(computation.parameters) / c10::elementSize(computation.products());
  const auto nodes = gradients * request.ranks * most_nodes_sent(shards, request.ranks);
  const Ring ring(request);
  std::vector<PlannedExchange> all;
  if (loss.embeddings > 0) {
    all.push_back(ring.all_gather("embeddings", loss.embeddings * static_cast<std::int64_t>(wide)));
    all.push_back(ring.all_gather("labels", request.config.train.global_batch * 8));
  }
  all.push_back(ring.all_gather("gradients of shards", nodes, nodes / ShardTree::kGatherBytes + 1));
  if (request.config.optimizer.shard) all.push_back(ring.all_gather("updated shares", gradients));
  return all;
}

std::vector<PlannedExchange> exchanges_of(const PlanRequest& request, const LossCost& loss, std::int64_t gradients) {
  if (request.ranks == 1) return {};
  if (request.config.distributed.virtual_shards > 0) return exchanges_of_shards(request, loss, gradients);
  const Ring ring(request);
  std::vector<PlannedExchange> all;
  if (loss.embeddings > 0) all.push_back(ring.all_gather("embeddings", loss.embeddings, loss.embedding_messages));
  if (loss.sums > 0) all.push_back(ring.all_gather("log-sum-exps and labels", loss.sums));
  all.push_back(ring.all_reduce("gradients", gradients, gradients / GradientSyncOptions{}.bucket_bytes + 1));
  // One broadcast an owner: in a ring all of it costs what gathering the shares does.
  if (request.config.optimizer.shard) all.push_back(ring.all_gather("updated shares", gradients));
  return all;
}

void add_times(const PlanRequest& request, RunPlan& plan) {
  const auto& precision = request.config.train.precision;
  const double cores = request.device.type == at::kCPU ? static_cast<double>(request.threads) : 1;
  const double speed = request.device.peak_flops(precision) * request.device.utilisation(precision) * cores;
  plan.compute_s = plan.step_flops() / speed;
  // Gradients travel while the last micro-batch's backward runs; what is longer than that waits, as all others do.
  const double hidden = static_cast<double>(plan.micro_batch) * plan.backward_flops / speed;
  plan.step_s = plan.compute_s;
  for (const auto& exchange : plan.exchanges) {
    plan.communication_s += exchange.seconds;
    plan.step_s += exchange.what == "gradients" ? std::max(0.0, exchange.seconds - hidden) : exchange.seconds;
  }
}

}  // namespace

std::vector<std::pair<std::string, std::int64_t>> parameters_by_tower(Module& module) {
  std::map<std::string, std::int64_t> parts;
  for (const auto& [name, tensor] : module.parameters()) {
    const bool image = name.starts_with("visual."), logits = name.starts_with("logit_");
    const bool head = name.starts_with("head.");
    parts[image ? "image tower" : logits ? "logits" : head ? "head" : "text tower"] += tensor.numel();
  }
  return {parts.begin(), parts.end()};
}

RunPlan plan_run(const PlanRequest& request, const CorpusFacts& facts) {
  const auto& config = request.config;
  const auto batch = plan_batch(config, request.ranks);
  check_text_tokens(config.model, request.text_tokens);
  const auto whole = objective_on_meta(config, facts);
  const auto traced = objective_on_meta(with_text_tokens(config, request.text_tokens), facts);
  RankShape shape{.ranks = request.ranks,
                  .local_batch = batch.local,
                  .micro_batch = batch.micro,
                  .classes = facts.num_labels,
                  .device = request.device.type};
  const auto memory = [&](const RankShape& at) {
    return estimate_memory(*whole, config, at, trace_step(*traced, config, at));
  };
  const auto trace = trace_step(*traced, config, shape);
  const auto loss = loss_cost(config, whole->needs(), shape_of_loss(config, shape));
  const auto rows = static_cast<double>(shape.micro_batch);

  RunPlan plan;
  plan.parameters = parameters_by_tower(whole->module());
  plan.local_batch = shape.local_batch;
  plan.micro_batch = shape.micro_batch;
  plan.forward_flops = trace.forward_flops / rows;
  plan.backward_flops = trace.backward_flops / rows;
  plan.first_pass_flops = loss.rows_meet && shape.micro_batch < shape.local_batch ? plan.forward_flops : 0;
  plan.loss_flops = loss.flops / static_cast<double>(shape.local_batch);
  plan.memory = estimate_memory(*whole, config, shape, trace);
  const auto available = memory_of(request);
  plan.available = available.bytes / available.sharers;
  plan.fits = available.holds(plan.memory);
  std::int64_t gradients = 0;
  for (const auto& [name, tensor] : whole->module().parameters()) {
    if (!tensor.requires_grad()) continue;
    plan.trained += tensor.numel();
    gradients += tensor.numel() * static_cast<std::int64_t>(tensor.element_size());
  }
  plan.exchanges = exchanges_of(request, loss_cost(config, whole->needs(), shape), gradients);
  add_times(request, plan);
  // A step in one piece, or in as many as a rank has virtual shards.
  const auto pieces_of_rank = config.distributed.virtual_shards > 0 ? shape.local_batch / shape.micro_batch : 1;
  plan.largest_micro_batch = largest([&](std::int64_t n) {
    RankShape at = shape;
    at.micro_batch = n;
    at.local_batch = n * pieces_of_rank;
    return available.holds(memory(at));
  });
  if (config.distributed.virtual_shards > 0) {
    plan.largest_local_batch = plan.largest_micro_batch * pieces_of_rank;
    return plan;
  }
  plan.largest_local_batch = largest([&](std::int64_t pieces) {
                               RankShape at = shape;
                               at.local_batch = pieces * at.micro_batch;
                               return available.holds(estimate_memory(*whole, config, at, trace));
                             }) *
                             shape.micro_batch;
  return plan;
}

}  // namespace triptych

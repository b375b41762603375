// The objectives by name: one overload each. To add one: a section in objective_config.h, its file, an overload here, a
// test.
#include "core/objective/objective_table.h"

#include <ATen/ATen.h>

#include <optional>
#include <variant>

#include "core/base/errors.h"
#include "core/objective/contrastive.h"
#include "core/objective/cross_entropy.h"
#include "core/objective/embedding.h"
#include "core/objective/loupe.h"
#include "core/objective/supcon.h"
#include "core/objective/tcl.h"
#include "losses/clip.h"
#include "losses/siglip.h"

namespace triptych {
namespace {

struct Parts {
  const ModelConfig& model;
  const CorpusFacts& facts;
  const BuildContext& context;
};

std::unique_ptr<ContrastiveObjective> contrastive(const Parts& parts, const LogitConfig& logits, PairLoss loss) {
  return std::make_unique<ContrastiveObjective>(parts.model, parts.facts, parts.context, logits, std::move(loss));
}

std::unique_ptr<Objective> make(const UniclConfig& config, const Parts& parts) {
  auto objective = contrastive(parts, {.clamp_scale = config.clamp_scale},
                               [directions = directions_of(config), exchange = exchange_of(config.exchange)](
                                   const PairRows& rows, Collectives& comm) {
                                 return unicl_loss(rows.image_bd, rows.text_kd, rows.labels, rows.scale, comm,
                                                   directions, rows.products, exchange);
                               });
  objective->take_mixed_labels();
  return objective;
}

std::unique_ptr<Objective> make(const ClipConfig& config, const Parts& parts) {
  // With several texts a picture, CLIP's loss is UniCL's with every picture a class of its own.
  return contrastive(parts, {.clamp_scale = config.clamp_scale},
                     [captions = parts.facts.captions, exchange = exchange_of(config.exchange)](const PairRows& rows,
                                                                                                Collectives& comm) {
                       if (captions == 1)
                         return clip_loss(rows.image_bd, rows.text_kd, rows.scale, comm, rows.products, exchange);
                       return unicl_loss(rows.image_bd, rows.text_kd,
                                         RowLabels(at::full_like(rows.labels.labels_b, kNoLabel)), rows.scale, comm,
                                         UniclDirections::kBoth, rows.products, exchange);
                     });
}

std::unique_ptr<Objective> make(const SigLipConfig& config, const Parts& parts) {
  check_no_captions(parts.facts, objective_named(SigLipConfig::kTag));
  return contrastive(parts, {.clamp_scale = config.clamp_scale, .bias = config.init_bias},
                     [](const PairRows& rows, Collectives& comm) {
                       return siglip_loss(rows.image_bd, rows.text_kd, rows.scale, rows.bias, comm, rows.products);
                     });
}

std::unique_ptr<Objective> make(const CrossEntropyConfig& config, const Parts& parts) {
  return std::make_unique<CrossEntropyObjective>(config, parts.model, parts.facts, parts.context);
}

std::unique_ptr<Objective> make(const SupConConfig& config, const Parts& parts) {
  return std::make_unique<SupConObjective>(config, parts.model, parts.facts, parts.context);
}

std::unique_ptr<Objective> make(const TclConfig& config, const Parts& parts) {
  return std::make_unique<TclObjective>(config, parts.model, parts.facts, parts.context);
}

std::unique_ptr<Objective> make(const LoupeConfig& config, const Parts& parts) {
  return std::make_unique<LoupeObjective>(config, parts.model, parts.facts, parts.context);
}

}  // namespace

Exchange exchange_of(const std::string& exchange) {
  return exchange == "ring" ? Exchange::kRing : Exchange::kGather;
}

UniclDirections directions_of(const UniclConfig& config) {
  if (config.directions == "rows") return UniclDirections::kRows;
  if (config.directions == "columns") return UniclDirections::kColumns;
  return UniclDirections::kBoth;
}

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& objective, const ModelConfig& model,
                                          const CorpusFacts& facts, const BuildContext& context) {
  std::optional<ShapesOnly> shapes;
  if (context.device.is_meta()) shapes.emplace();
  if (model.fusion && !std::holds_alternative<TclConfig>(objective))
    throw ConfigError("model.fusion: only objective tcl has a fusion encoder; remove the key");
  return std::visit([&](const auto& config) { return make(config, Parts{model, facts, context}); }, objective);
}

}  // namespace triptych

// The objectives by name: one overload each. To add one: a section in objective_config.h, its file, an overload here, a
// test.
#include "core/objective/objective_table.h"

#include <ATen/ATen.h>

#include "core/objective/contrastive.h"
#include "core/objective/cross_entropy.h"
#include "core/objective/supcon.h"
#include "losses/clip.h"
#include "losses/unicl.h"

namespace triptych {
namespace {

struct Parts {
  const ModelConfig& model;
  const CorpusFacts& facts;
  const BuildContext& context;
};

UniclDirections directions_of(const std::string& text) {
  if (text == "rows") return UniclDirections::kRows;
  if (text == "columns") return UniclDirections::kColumns;
  return UniclDirections::kBoth;
}

std::unique_ptr<Objective> make(const UniclConfig& config, const Parts& parts) {
  const PairLoss loss = [directions = directions_of(config.directions)](
                            const at::Tensor& image_bd, const at::Tensor& text_kd, const RowLabels& labels,
                            const at::Tensor& scale, Collectives& comm, at::ScalarType products) {
    return unicl_loss(image_bd, text_kd, labels, scale, comm, directions, products);
  };
  auto objective =
      std::make_unique<ContrastiveObjective>(parts.model, parts.facts, parts.context, config.clamp_scale, loss);
  objective->take_mixed_labels();
  return objective;
}

std::unique_ptr<Objective> make(const ClipConfig& config, const Parts& parts) {
  // With several texts a picture, CLIP's loss is UniCL's with every picture a class of its own.
  const PairLoss loss = [captions = parts.facts.captions](const at::Tensor& image_bd, const at::Tensor& text_kd,
                                                          const RowLabels& labels, const at::Tensor& scale,
                                                          Collectives& comm, at::ScalarType products) {
    if (captions == 1) return clip_loss(image_bd, text_kd, scale, comm, products);
    return unicl_loss(image_bd, text_kd, RowLabels(at::full_like(labels.labels_b, kNoLabel)), scale, comm,
                      UniclDirections::kBoth, products);
  };
  return std::make_unique<ContrastiveObjective>(parts.model, parts.facts, parts.context, config.clamp_scale, loss);
}

std::unique_ptr<Objective> make(const CrossEntropyConfig& config, const Parts& parts) {
  return std::make_unique<CrossEntropyObjective>(config, parts.model, parts.facts, parts.context);
}

std::unique_ptr<Objective> make(const SupConConfig& config, const Parts& parts) {
  return std::make_unique<SupConObjective>(config, parts.model, parts.facts, parts.context);
}

}  // namespace

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& objective, const ModelConfig& model,
                                          const CorpusFacts& facts, const BuildContext& context) {
  return std::visit([&](const auto& config) { return make(config, Parts{model, facts, context}); }, objective);
}

}  // namespace triptych

// Two views of each picture under the SupCon loss.
#include "core/objective/supcon.h"

#include <ATen/ATen.h>

#include "core/model/image_preprocess.h"
#include "core/model/model_factory.h"
#include "core/objective/embedding.h"
#include "core/objective/gradient_cache.h"
#include "losses/supcon.h"

namespace triptych {

SupConObjective::SupConObjective(const SupConConfig& config, const ModelConfig& model, const CorpusFacts& facts,
                                 const BuildContext& context)
    : config_(config),
      facts_(facts),
      context_(context),
      needs_({.views = 2, .labels = true, .text = false, .form = {}, .image_size = image_size(model)}),
      model_(make_image_tower(model, model.embed_dim, context.initializer("visual"))) {
  check_labelled(facts, objective_named(SupConConfig::kTag));
  check_no_captions(facts, objective_named(SupConConfig::kTag));
  context.start(model_, model);
}

at::Tensor SupConObjective::features(const at::Tensor& images, const ForwardScope& scope) {
  return model_.visual().features(normalise_images(images.to(context_.device), facts_, context_.parameters), scope);
}

std::vector<at::Tensor> SupConObjective::encode(const Batch& batch, StepScope& scope) {
  const auto autocast = scope.autocast(context_.device);
  const ForwardScope inner = scope.forward(Purpose::kDropPath, batch.first_position, context_.device);
  const at::Tensor view_nd = model_.visual().project(features(batch.images.flatten(0, 1), inner));
  const at::Tensor view_bvd = view_nd.unflatten(0, {batch.images.size(0), batch.images.size(1)});
  return {unit_rows(view_bvd, context_.parameters)};
}

LossReport SupConObjective::accumulate(std::span<const Batch> micro_batches, StepScope& scope) {
  CachedForward forward;
  forward.micro_batches = micro_batches.size();
  forward.encode = [&](std::size_t i) { return encode(micro_batches[i], scope); };
  forward.loss = [&](const std::vector<at::Tensor>& rows, const std::vector<at::Tensor>&) {
    const at::Tensor labels = scope.loss_rows(all_labels(micro_batches, context_.device));
    return supcon_loss(rows[0], labels, config_.temperature, scope.loss_comm(), scope.products());
  };
  return accumulate_cached(forward, scope);
}

Encoders SupConObjective::encoders() {
  Encoders encoders;
  encoders.image = [this](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return unit_rows(features(images, context_.evaluation()), context_.parameters);
  };
  encoders.features = [this](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return features(images, context_.evaluation());
  };
  return encoders;
}

}  // namespace triptych

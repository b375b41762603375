// A classifier under cross-entropy. Rows do not meet in this loss, so micro-batches are simply accumulated.
#include "core/objective/cross_entropy.h"

#include <ATen/ATen.h>

#include "core/model/image_preprocess.h"
#include "core/model/model_factory.h"
#include "core/objective/embedding.h"
#include "core/objective/shard_report.h"
#include "losses/cross_entropy.h"

namespace triptych {

Classifier::Classifier(std::unique_ptr<ImageTower> visual, std::int64_t num_labels, const Initializer& init)
    : visual_(std::move(visual)),
      head_((init / "head").truncated_normal("weight", {num_labels, visual_->feature_width()}, 0.02)) {
  child("visual", *visual_);
  child("head", head_);
}

CrossEntropyObjective::CrossEntropyObjective(const CrossEntropyConfig& config, const ModelConfig& model,
                                             const CorpusFacts& facts, const BuildContext& context)
    : config_(config),
      facts_(facts),
      context_(context),
      needs_({.labels = true, .mixed_labels = true, .text = false, .form = {}, .image_size = image_size(model)}),
      model_(make_image_tower(model, std::nullopt, context.initializer("visual")), facts.num_labels,
             context.initializer()) {
  check_labelled(facts, objective_named(CrossEntropyConfig::kTag));
  check_no_captions(facts, objective_named(CrossEntropyConfig::kTag));
  context.start(model_, model);
}

at::Tensor CrossEntropyObjective::features(const at::Tensor& images, const ForwardScope& scope) {
  return model_.visual().features(normalise_images(images.to(context_.device), facts_, context_.parameters), scope);
}

std::vector<at::Tensor> CrossEntropyObjective::encode(const Batch& batch, StepScope& scope) {
  const auto autocast = scope.autocast(context_.device);
  const ForwardScope forward = scope.forward(Purpose::kDropPath, batch.first_position, context_.device);
  return {model_.logits(features(batch.images.select(1, 0), forward)).to(context_.parameters)};
}

LossReport CrossEntropyObjective::accumulate(std::span<const Batch> micro_batches, StepScope& scope) {
  LossReport report;
  std::vector<LossReport> shards;
  std::int64_t rows = 0;
  for (const auto& batch : micro_batches) rows += batch.images.size(0);
  if (scope.sharded()) rows *= scope.comm().size();
  for (const auto& batch : micro_batches) {
    const at::Tensor logits = encode(batch, scope).front();
    const LossOutput loss =
        softmax_cross_entropy(logits, all_row_labels({&batch, 1}, context_.device), config_.label_smoothing);
    // The mean over the local rows (with virtual shards over all) is that of the micro-batches' means by their share.
    const double share = static_cast<double>(batch.images.size(0)) / static_cast<double>(rows);
    const bool last = &batch == &micro_batches.back();
    scope.backward({loss.total}, {scope.seed_gradient(loss.total, share)}, last ? Last::kYes : Last::kNo);
    scope.end_shard();
    if (scope.sharded()) add_share(shards.emplace_back(), loss, share);
    if (!scope.sharded()) add_share(report, loss, share);
  }
  return scope.sharded() ? sum_of_shards(shards, scope.comm()) : report;
}

Encoders CrossEntropyObjective::encoders() {
  Encoders encoders;
  encoders.image = [this](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return unit_rows(features(images, context_.evaluation()), context_.parameters);
  };
  encoders.features = [this](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return features(images, context_.evaluation());
  };
  encoders.classify = [this](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return model_.logits(features(images, context_.evaluation())).to(context_.parameters);
  };
  return encoders;
}

}  // namespace triptych

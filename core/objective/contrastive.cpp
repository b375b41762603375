// Two towers under a contrastive loss.
#include "core/objective/contrastive.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/model/image_preprocess.h"
#include "core/objective/embedding.h"
#include "core/objective/gradient_cache.h"

namespace triptych {
namespace {

constexpr double kMostLogScale = 4.605170185988092;  // log 100

BatchSpec needs_of(const ModelConfig& model, const CorpusFacts& facts) {
  BatchSpec needs;
  needs.captions = facts.captions;
  needs.image_size = image_size(model);
  if (const auto form = text_form(model)) {
    needs.form = *form;
    return needs;
  }
  constexpr const char* kWho = "model.text.type label_embedding";
  check_labelled(facts, kWho);
  check_no_captions(facts, kWho);
  needs.text = false;
  needs.labels = true;
  return needs;
}

RowLabels labels_of_loss(std::span<const Batch> micro_batches, at::Device device, StepScope& scope) {
  RowLabels labels = all_row_labels(micro_batches, device);
  for (auto* own : {&labels.labels_b, &labels.other_b, &labels.weight_b})
    if (own->defined()) *own = scope.loss_rows(*own);
  return labels;
}

}  // namespace

ContrastiveObjective::ContrastiveObjective(const ModelConfig& model, const CorpusFacts& facts,
                                           const BuildContext& context, const LogitConfig& logits, PairLoss loss)
    : facts_(facts),
      context_(context),
      needs_(needs_of(model, facts)),
      logits_(logits),
      loss_(std::move(loss)),
      model_(model, context.initializer(), logits.bias, facts.num_labels) {
  context.start(model_, model);
}

at::Tensor ContrastiveObjective::texts(const Batch& batch) const {
  return needs_.text ? batch.tokens : batch.labels.view({-1, 1, 1});
}

at::Tensor ContrastiveObjective::image_features(const at::Tensor& images, const ForwardScope& scope) {
  return model_.visual().features(normalise_images(images.to(context_.device), facts_, context_.parameters), scope);
}

at::Tensor ContrastiveObjective::image_embedding(const at::Tensor& images, const ForwardScope& scope) {
  return unit_rows(model_.visual().project(image_features(images, scope)), context_.parameters);
}

at::Tensor ContrastiveObjective::text_embedding(const at::Tensor& tokens, const ForwardScope& scope) {
  const at::Tensor rows = tokens.to(context_.device).flatten(0, -2);
  const at::Tensor embedding = unit_rows(model_.text().forward(rows, scope), context_.parameters);
  auto shape = tokens.sizes().vec();
  shape.back() = embedding.size(1);
  return embedding.view(shape);
}

std::vector<at::Tensor> ContrastiveObjective::encode(const Batch& batch, StepScope& scope) {
  const auto autocast = scope.autocast(context_.device);
  const auto of = [&](Purpose draws) { return scope.forward(draws, batch.first_position, context_.device); };
  return {image_embedding(batch.images.select(1, 0), of(Purpose::kDropPath)),
          text_embedding(texts(batch), of(Purpose::kDropout))};
}

LossReport ContrastiveObjective::accumulate(std::span<const Batch> micro_batches, StepScope& scope) {
  CachedForward forward;
  forward.micro_batches = micro_batches.size();
  forward.encode = [&](std::size_t i) { return encode(micro_batches[i], scope); };
  forward.parameters = {model_.logit_scale()};
  if (model_.logit_bias().defined()) forward.parameters.push_back(model_.logit_bias());
  forward.loss = [&](const std::vector<at::Tensor>& rows, const std::vector<at::Tensor>& parameters) {
    return loss_({rows[0], rows[1].flatten(0, 1), labels_of_loss(micro_batches, context_.device, scope),
                  parameters[0].exp(), parameters.size() > 1 ? parameters[1] : at::Tensor(), scope.products()},
                 scope.loss_comm());
  };
  return accumulate_cached(forward, scope);
}

void ContrastiveObjective::after_update(StepScope&) {
  if (!logits_.clamp_scale) return;
  const c10::NoGradGuard no_grad;
  model_.logit_scale().clamp_(0, kMostLogScale);
}

Encoders ContrastiveObjective::encoders() {
  Encoders encoders;
  encoders.image = [this](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return image_embedding(images, context_.evaluation());
  };
  encoders.features = [this](const at::Tensor& images) {
    const EvaluationMode mode(model_);
    return image_features(images, context_.evaluation());
  };
  if (needs_.text) {
    encoders.text = [this](const at::Tensor& tokens) {
      const EvaluationMode mode(model_);
      return text_embedding(tokens, context_.evaluation());
    };
  } else {
    encoders.classify = [this](const at::Tensor& images) {
      const EvaluationMode mode(model_);
      const at::Tensor label_cd =
          text_embedding(at::arange(facts_.num_labels, at::kLong).unsqueeze(1), context_.evaluation());
      return image_embedding(images, context_.evaluation()).matmul(label_cd.t()) * model_.logit_scale().exp();
    };
  }
  encoders.scale = model_.logit_scale().detach().exp();
  return encoders;
}

}  // namespace triptych

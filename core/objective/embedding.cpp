// Normalisation, labels, evaluation mode.
#include "core/objective/embedding.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/errors.h"

namespace triptych {

at::Tensor unit_rows(const at::Tensor& rows, at::ScalarType dtype) {
  const at::Tensor wide = rows.to(dtype);
  return wide / wide.norm(2, -1, /*keepdim=*/true).clamp_min(1e-12);
}

at::Tensor all_labels(std::span<const Batch> micro_batches, at::Device device) {
  std::vector<at::Tensor> labels;
  for (const auto& batch : micro_batches) labels.push_back(batch.labels);
  return at::cat(labels).to(device);
}

RowLabels all_row_labels(std::span<const Batch> micro_batches, at::Device device) {
  RowLabels labels = all_labels(micro_batches, device);
  if (!micro_batches.front().mix_weights.defined()) return labels;
  std::vector<at::Tensor> others, weights;
  for (const auto& batch : micro_batches) {
    others.push_back(batch.other_labels);
    weights.push_back(batch.mix_weights);
  }
  labels.other_b = at::cat(others).to(device);
  labels.weight_b = at::cat(weights).to(device);
  return labels;
}

std::string objective_named(const char* tag) {
  return std::string("objective.name: ") + tag;
}

void check_labelled(const CorpusFacts& facts, const std::string& who) {
  if (facts.num_labels > 0) return;
  throw ConfigError(who +
                    " needs a label for every record, but the corpora have none; use corpora of kind image_label, "
                    "or objective unicl or clip with a text tower");
}

void check_no_captions(const CorpusFacts& facts, const std::string& who) {
  if (facts.captions == 1) return;
  throw ConfigError("data.captions.all_positive: is " + std::to_string(facts.captions) + ", but " + who +
                    " takes one text an image at most; leave it out, or use objective unicl or clip with a text tower");
}

void add_share(LossReport& report, const LossOutput& loss, double share) {
  const bool first = !report.total.defined();
  report.total = first ? loss.total.detach() * share : report.total + loss.total.detach() * share;
  for (std::size_t i = 0; i < loss.terms.size(); ++i) {
    if (first) {
      report.terms.push_back({loss.terms[i].name, loss.terms[i].value * share});
    } else {
      report.terms[i].value = report.terms[i].value + loss.terms[i].value * share;
    }
  }
}

std::int64_t image_size(const ModelConfig& model) {
  return std::visit([](const auto& tower) { return tower.image_size; }, model.image);
}

std::int64_t image_grid(const ModelConfig& model) {
  if (const auto* vit = std::get_if<VitConfig>(&model.image)) return vit->image_size / vit->patch_size;
  if (const auto* swin = std::get_if<SwinConfig>(&model.image))
    return swin->image_size / swin->patch_size >> (swin->depths.size() - 1);
  return 0;
}

std::optional<TextForm> text_form(const ModelConfig& model) {
  if (const auto* causal = std::get_if<CausalTransformerConfig>(&model.text))
    return TextForm{.tokenizer = causal->tokenizer, .clean = causal->clean, .context = causal->context};
  if (const auto* bert = std::get_if<BertConfig>(&model.text))
    return TextForm{.tokenizer = bert->end_token ? "bert_wordpiece" : "bert_wordpiece_no_sep",
                    .clean = bert->clean,
                    .context = bert->context};
  return std::nullopt;
}

EvaluationMode::EvaluationMode(Module& module)
    : module_(module), was_training_(module.training()), was_grad_(c10::GradMode::is_enabled()) {
  module_.set_training(false);
  c10::GradMode::set_enabled(false);
}

EvaluationMode::~EvaluationMode() {
  c10::GradMode::set_enabled(was_grad_);
  module_.set_training(was_training_);
}

}  // namespace triptych

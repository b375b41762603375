// Post-norm layers.
#include "core/model/bert_layers.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <string>

#include "core/module/keyed_random.h"
#include "core/module/recompute.h"

namespace triptych {
namespace {

constexpr double kBertDeviation = 0.02;
constexpr std::int64_t kTypes = 2;

std::int64_t hidden_width(const BertConfig& config) {
  return std::llround(static_cast<double>(config.width) * config.mlp_ratio);
}

}  // namespace

at::Tensor bert_weight(const Initializer& init, std::int64_t out, std::int64_t in) {
  return init.truncated_normal("weight", {out, in}, kBertDeviation);
}

at::Tensor bert_padding(const at::Tensor& tokens, at::ScalarType type) {
  const at::Tensor none = at::zeros(tokens.sizes(), tokens.options().dtype(type));
  return none.masked_fill(tokens == kBertPadding, -std::numeric_limits<double>::infinity()).unsqueeze(1).unsqueeze(1);
}

at::Tensor text_lengths(const at::Tensor& tokens) {
  const at::Tensor places = at::arange(1, tokens.size(1) + 1, tokens.options());
  return (tokens != kBertPadding).to(at::kLong).mul(places).amax(1).clamp_min(1);
}

BertAttention::BertAttention(const BertConfig& config, std::int64_t key_width, const Initializer& init)
    : heads_(config.heads),
      dropout_(config.dropout),
      query_(bert_weight(init / "self.query", config.width, config.width)),
      key_(bert_weight(init / "self.key", config.width, key_width)),
      value_(bert_weight(init / "self.value", config.width, key_width)),
      output_(bert_weight(init / "output.dense", config.width, config.width)),
      norm_(config.width, kBertNormEps) {
  child("self.query", query_);
  child("self.key", key_);
  child("self.value", value_);
  child("output.dense", output_);
  child("output.LayerNorm", norm_);
}

at::Tensor BertAttention::forward(const at::Tensor& x_nld, const at::Tensor& states_nkc, const at::Tensor& bias,
                                  const ForwardScope& scope) const {
  const double drop = training() ? dropout_ : 0;
  const auto heads = [&](const Linear& projection, const at::Tensor& from) {
    const at::Tensor rows = projection.forward(from);
    return rows.unflatten(2, {heads_, rows.size(2) / heads_}).transpose(1, 2);
  };
  const at::Tensor mixed = attend(heads(query_, x_nld), heads(key_, states_nkc), heads(value_, states_nkc),
                                  {.bias = bias, .dropout = drop}, scope);
  const at::Tensor seen = output_.forward(mixed.transpose(1, 2).flatten(2));
  return norm_.forward(keyed_dropout(seen, drop, scope.draws) + x_nld);
}

BertLayer::BertLayer(const BertConfig& config, std::int64_t image_width, const Initializer& init)
    : dropout_(config.dropout),
      attention_(config, config.width, init / "attention"),
      intermediate_(bert_weight(init / "intermediate.dense", hidden_width(config), config.width)),
      output_(bert_weight(init / "output.dense", config.width, hidden_width(config))),
      output_norm_(config.width, kBertNormEps) {
  child("attention", attention_);
  if (image_width > 0) {
    crossattention_ = std::make_unique<BertAttention>(config, image_width, init / "crossattention");
    child("crossattention", *crossattention_);
  }
  child("intermediate.dense", intermediate_);
  child("output.dense", output_);
  child("output.LayerNorm", output_norm_);
}

at::Tensor BertLayer::forward(const at::Tensor& x_nld, const at::Tensor& padding, const at::Tensor& image_nkc,
                              const ForwardScope& scope) const {
  at::Tensor seen = attention_.forward(x_nld, x_nld, padding, scope);
  if (crossattention_) seen = crossattention_->forward(seen, image_nkc, {}, scope);
  const at::Tensor hidden = output_.forward(at::gelu(intermediate_.forward(seen)));
  return output_norm_.forward(keyed_dropout(hidden, training() ? dropout_ : 0, scope.draws) + seen);
}

BertEncoder::BertEncoder(const BertConfig& config, std::int64_t fusion_depth, std::int64_t image_width,
                         const Initializer& init)
    : dropout_(config.dropout),
      words_(bert_weight(init / "embeddings.word_embeddings", config.vocabulary, config.width)),
      positions_(bert_weight(init / "embeddings.position_embeddings", config.positions, config.width)),
      types_(bert_weight(init / "embeddings.token_type_embeddings", kTypes, config.width)),
      norm_(config.width, kBertNormEps) {
  child("embeddings.word_embeddings", words_);
  child("embeddings.position_embeddings", positions_);
  child("embeddings.token_type_embeddings", types_);
  child("embeddings.LayerNorm", norm_);
  for (std::int64_t i = 0; i < config.depth + fusion_depth; ++i) {
    const std::string name = "encoder.layer." + std::to_string(i);
    layers_.push_back(std::make_unique<BertLayer>(config, i < config.depth ? 0 : image_width, init / name));
    child(name, *layers_.back());
  }
}

at::Tensor BertEncoder::embedded(const at::Tensor& tokens, const ForwardScope& scope) const {
  const at::Tensor places = at::arange(tokens.size(1), tokens.options());
  const at::Tensor sum = words_.forward(tokens) + types_.forward(at::zeros_like(tokens)) + positions_.forward(places);
  return keyed_dropout(norm_.forward(sum), training() ? dropout_ : 0, scope.draws);
}

at::Tensor BertEncoder::layers(std::int64_t first, std::int64_t last, at::Tensor x_nld, const at::Tensor& padding,
                               const at::Tensor& image_nkc, const ForwardScope& scope) const {
  for (std::int64_t i = first; i < last; ++i) {
    const auto& block = *layers_[static_cast<std::size_t>(i)];
    std::vector<at::Tensor> inputs = {x_nld};
    if (image_nkc.defined()) inputs.push_back(image_nkc);
    x_nld = recomputed(block, inputs, scope, [&block, padding](const auto& in, const ForwardScope& inner) {
      return block.forward(in[0], padding, in.size() > 1 ? in[1] : at::Tensor(), inner);
    });
  }
  return x_nld;
}

}  // namespace triptych

// BERT's layers. Initial values are BERT's: normal with deviation 0.02, cut at two deviations.
#include "core/model/bert.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <string>

#include "core/model/length_groups.h"
#include "core/module/keyed_random.h"
#include "core/module/recompute.h"

namespace triptych {
namespace {

constexpr double kDeviation = 0.02, kEps = 1e-12;
constexpr std::int64_t kPadding = 0, kTypes = 2;

at::Tensor weight(const Initializer& init, std::int64_t out, std::int64_t in) {
  return init.truncated_normal("weight", {out, in}, kDeviation);
}

/// [n, 1, 1, tokens]: -infinity for padding, 0 for tokens.
at::Tensor padding_bias(const at::Tensor& tokens, at::ScalarType type) {
  const at::Tensor none = at::zeros(tokens.sizes(), tokens.options().dtype(type));
  return none.masked_fill(tokens == kPadding, -std::numeric_limits<double>::infinity()).unsqueeze(1).unsqueeze(1);
}

}  // namespace

BertLayer::BertLayer(const BertConfig& config, const Initializer& init)
    : heads_(config.heads),
      dropout_(config.dropout),
      query_(weight(init / "attention.self.query", config.width, config.width)),
      key_(weight(init / "attention.self.key", config.width, config.width)),
      value_(weight(init / "attention.self.value", config.width, config.width)),
      attention_output_(weight(init / "attention.output.dense", config.width, config.width)),
      attention_norm_(config.width, kEps),
      intermediate_(weight(init / "intermediate.dense",
                           std::llround(static_cast<double>(config.width) * config.mlp_ratio), config.width)),
      output_(weight(init / "output.dense", config.width,
                     std::llround(static_cast<double>(config.width) * config.mlp_ratio))),
      output_norm_(config.width, kEps) {
  child("attention.self.query", query_);
  child("attention.self.key", key_);
  child("attention.self.value", value_);
  child("attention.output.dense", attention_output_);
  child("attention.output.LayerNorm", attention_norm_);
  child("intermediate.dense", intermediate_);
  child("output.dense", output_);
  child("output.LayerNorm", output_norm_);
}

at::Tensor BertLayer::forward(const at::Tensor& x_nld, const at::Tensor& padding, const ForwardScope& scope) const {
  const double drop = training() ? dropout_ : 0;
  const auto heads = [&](const Linear& projection) {
    const at::Tensor rows = projection.forward(x_nld);
    return rows.unflatten(2, {heads_, rows.size(2) / heads_}).transpose(1, 2);
  };
  const at::Tensor mixed = attend(heads(query_), heads(key_), heads(value_), {.bias = padding, .dropout = drop}, scope);
  const at::Tensor attention = attention_output_.forward(mixed.transpose(1, 2).flatten(2));
  const at::Tensor seen = attention_norm_.forward(keyed_dropout(attention, drop, scope.draws) + x_nld);
  const at::Tensor hidden = output_.forward(at::gelu(intermediate_.forward(seen)));
  return output_norm_.forward(keyed_dropout(hidden, drop, scope.draws) + seen);
}

Bert::Bert(const BertConfig& config, std::int64_t embed_dim, const Initializer& init)
    : config_(config),
      words_(weight(init / "embeddings.word_embeddings", config.vocabulary, config.width)),
      positions_(weight(init / "embeddings.position_embeddings", config.positions, config.width)),
      types_(weight(init / "embeddings.token_type_embeddings", kTypes, config.width)),
      norm_(config.width, kEps) {
  text_projection_ =
      parameter("text_projection", init.truncated_normal("text_projection", {config.width, embed_dim}, kDeviation));
  child("embeddings.word_embeddings", words_);
  child("embeddings.position_embeddings", positions_);
  child("embeddings.token_type_embeddings", types_);
  child("embeddings.LayerNorm", norm_);
  for (std::int64_t i = 0; i < config.depth; ++i) {
    const std::string name = "encoder.layer." + std::to_string(i);
    layers_.push_back(std::make_unique<BertLayer>(config, init / name));
    child(name, *layers_.back());
  }
}

at::Tensor Bert::embedded(const at::Tensor& tokens, const ForwardScope& scope) const {
  const at::Tensor places = at::arange(tokens.size(1), tokens.options());
  const at::Tensor sum = words_.forward(tokens) + types_.forward(at::zeros_like(tokens)) + positions_.forward(places);
  return keyed_dropout(norm_.forward(sum), training() ? config_.dropout : 0, scope.draws);
}

at::Tensor Bert::layer(std::size_t index, const at::Tensor& x_nld, const at::Tensor& padding,
                       const ForwardScope& scope) const {
  return recomputed(*layers_[index], {x_nld}, scope,
                    [&block = *layers_[index], padding](const auto& inputs, const ForwardScope& inner) {
                      return block.forward(inputs[0], padding, inner);
                    });
}

std::vector<at::Tensor> Bert::states(const at::Tensor& tokens, const ForwardScope& scope) const {
  std::vector<at::Tensor> states = {embedded(tokens, scope)};
  const at::Tensor padding = padding_bias(tokens, states[0].scalar_type());
  for (std::size_t i = 0; i < layers_.size(); ++i) states.push_back(layer(i, states.back(), padding, scope));
  return states;
}

at::Tensor Bert::forward(const at::Tensor& tokens, const ForwardScope& scope) const {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) == config_.context && tokens.scalar_type() == at::kLong,
              "the text encoder takes int64 [n, ", config_.context, "], got ", tokens.scalar_type(), " ",
              tokens.sizes());
  if (tokens.is_meta()) return at::matmul(states(tokens, scope).back().select(1, 0), text_projection_);
  const at::Tensor places = at::arange(1, tokens.size(1) + 1, tokens.options());
  const LengthGroups groups((tokens != kPadding).to(at::kLong).mul(places).amax(1).clamp_min(1), /*group=*/0);
  const at::Tensor ordered = groups.ordered(tokens).narrow(1, 0, groups.longest());
  const at::Tensor class_nd = groups.each(embedded(ordered, scope), [&](const at::Tensor& part, std::int64_t begin) {
    const at::Tensor padding =
        padding_bias(ordered.narrow(0, begin, part.size(0)).narrow(1, 0, part.size(1)), part.scalar_type());
    at::Tensor x_nld = part;
    for (std::size_t i = 0; i < layers_.size(); ++i) x_nld = layer(i, x_nld, padding, scope);
    return x_nld.select(1, 0);
  });
  return at::matmul(class_nd, text_projection_);
}

}  // namespace triptych

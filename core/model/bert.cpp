// BERT's forward, on texts cut to their lengths.
#include "core/model/bert.h"

#include <ATen/ATen.h>

#include "core/model/length_groups.h"

namespace triptych {

Bert::Bert(const BertConfig& config, std::int64_t embed_dim, const Initializer& init)
    : config_(config), encoder_(config, /*fusion_depth=*/0, /*image_width=*/0, init) {
  text_projection_ =
      parameter("text_projection", init.truncated_normal("text_projection", {config.width, embed_dim}, 0.02));
  child("", encoder_);
}

std::vector<at::Tensor> Bert::states(const at::Tensor& tokens, const ForwardScope& scope) const {
  std::vector<at::Tensor> states = {encoder_.embedded(tokens, scope)};
  const at::Tensor padding = bert_padding(tokens, states[0].scalar_type());
  for (std::int64_t i = 0; i < config_.depth; ++i)
    states.push_back(encoder_.layers(i, i + 1, states.back(), padding, {}, scope));
  return states;
}

at::Tensor Bert::encoded(const at::Tensor& embedded, const at::Tensor& tokens, const ForwardScope& scope) const {
  return encoder_.layers(0, config_.depth, embedded, bert_padding(tokens, embedded.scalar_type()), {}, scope);
}

at::Tensor Bert::project(const at::Tensor& states) const {
  return at::matmul(states, text_projection_);
}

at::Tensor Bert::forward(const at::Tensor& tokens, const ForwardScope& scope) const {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) == config_.context && tokens.scalar_type() == at::kLong,
              "the text encoder takes int64 [n, ", config_.context, "], got ", tokens.scalar_type(), " ",
              tokens.sizes());
  if (tokens.is_meta()) return at::matmul(states(tokens, scope).back().select(1, 0), text_projection_);
  const LengthGroups groups(text_lengths(tokens), /*group=*/0);
  const at::Tensor ordered = groups.ordered(tokens).narrow(1, 0, groups.longest());
  const at::Tensor class_nd =
      groups.each(encoder_.embedded(ordered, scope), [&](const at::Tensor& part, std::int64_t begin) {
        const at::Tensor padding =
            bert_padding(ordered.narrow(0, begin, part.size(0)).narrow(1, 0, part.size(1)), part.scalar_type());
        return encoder_.layers(0, config_.depth, part, padding, {}, scope).select(1, 0);
      });
  return at::matmul(class_nd, text_projection_);
}

}  // namespace triptych

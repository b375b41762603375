// Composition of towers, region head and networks.
#include "core/model/loupe_model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <variant>

#include "core/model/model_factory.h"

namespace triptych {

CellAttention::CellAttention(std::int64_t width, const Initializer& init)
    : query_(parameter("query", init.normal("query", {width}, 1 / std::sqrt(static_cast<double>(width))))) {}

at::Tensor CellAttention::forward(const at::Tensor& cell_nkd) const {
  const at::Tensor share_nk = at::matmul(cell_nkd, query_).softmax(1);
  return at::matmul(share_nk.unsqueeze(1), cell_nkd).squeeze(1);
}

LoupeModel::LoupeModel(const ModelConfig& config, const LoupeShape& shape, const Initializer& init)
    : visual_(make_image_tower(config, config.embed_dim, init / "visual")),
      text_(std::get<BertConfig>(config.text), config.embed_dim, init) {
  const at::Tensor temperature = at::scalar_tensor(shape.temperature, at::kFloat);
  child("visual", *visual_);
  child("", text_);
  // Not learnt, it is no state either: it follows from the configuration.
  temperature_ = shape.learn_temperature ? parameter("temperature", temperature) : constant(temperature);
  if (shape.attention_pool) {
    pool_ = std::make_unique<CellAttention>(visual_->feature_width(), init / "image_pool");
    child("image_pool", *pool_);
  }
  if (shape.region_hidden > 0) {
    regions_ = std::make_unique<RegionHead>(visual_->feature_width(), shape.region_hidden, visual_->grid(),
                                            init / "region_head", shape.least_region);
    child("region_head", *regions_);
    if (shape.pooled_confidence) {
      confidence_ = std::make_unique<Linear>(
          (init / "region_confidence").truncated_normal("weight", {1, visual_->feature_width()}, 0.02));
      child("region_confidence", *confidence_);
    }
  }
  if (shape.tokens) {
    token_network_ = make_unsil(shape.network, *shape.tokens, init / "unsil.tokens");
    child("unsil.tokens", *token_network_);
  }
  if (shape.phrases) {
    phrase_network_ = make_unsil(shape.network, *shape.phrases, init / "unsil.phrases");
    child("unsil.phrases", *phrase_network_);
  }
}

at::Tensor LoupeModel::image_feature(const ImageStates& states) const {
  return pool_ ? pool_->forward(states.cell_nkd) : states.feature_nd;
}

at::Tensor LoupeModel::image_embedding(const ImageStates& states) const {
  return visual_->project(image_feature(states));
}

std::vector<NamedTensor> LoupeModel::fine_parameters() const {
  std::vector<NamedTensor> all;
  for (const Module* part : std::initializer_list<const Module*>{regions_.get(), confidence_.get(),
                                                                 token_network_.get(), phrase_network_.get()}) {
    if (part == nullptr) continue;
    for (auto& parameter : part->parameters()) all.push_back(std::move(parameter));
  }
  return all;
}

at::Tensor LoupeModel::confidence(const at::Tensor& pooled) const {
  return confidence_ ? confidence_->forward(pooled).squeeze(-1) : at::Tensor();
}

}  // namespace triptych

// The table of towers: one overload per type.
#include "core/model/model_factory.h"

#include "core/model/causal_transformer.h"
#include "core/model/vit.h"

namespace triptych {
namespace {

using Width = std::optional<std::int64_t>;

std::unique_ptr<ImageTower> make(const VitConfig& c, Width embed_dim, const Initializer& init) {
  return std::make_unique<VisionTransformer>(c, embed_dim, init);
}

std::unique_ptr<TextTower> make(const CausalTransformerConfig& c, std::int64_t embed_dim, const Initializer& init) {
  return std::make_unique<CausalTransformer>(c, embed_dim, init);
}

}  // namespace

std::unique_ptr<ImageTower> make_image_tower(const ModelConfig& config, Width embed_dim, const Initializer& init) {
  return std::visit([&](const auto& tower) { return make(tower, embed_dim, init); }, config.image);
}

std::unique_ptr<TextTower> make_text_tower(const ModelConfig& config, const Initializer& init) {
  return std::visit([&](const auto& tower) { return make(tower, config.embed_dim, init); }, config.text);
}

}  // namespace triptych

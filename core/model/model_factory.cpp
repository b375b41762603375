// The table of towers: one overload per type.
#include "core/model/model_factory.h"

#include "core/model/bert.h"
#include "core/model/causal_transformer.h"
#include "core/model/label_embedding.h"
#include "core/model/resnet.h"
#include "core/model/swin.h"
#include "core/model/vit.h"

namespace triptych {
namespace {

using Width = std::optional<std::int64_t>;

std::unique_ptr<ImageTower> make(const VitConfig& c, Width embed_dim, const Initializer& init) {
  return std::make_unique<VisionTransformer>(c, embed_dim, init);
}

std::unique_ptr<ImageTower> make(const SwinConfig& c, Width embed_dim, const Initializer& init) {
  return std::make_unique<SwinTransformer>(c, embed_dim, init);
}

std::unique_ptr<ImageTower> make(const ResNetConfig& c, Width embed_dim, const Initializer& init) {
  return std::make_unique<ResNet>(c, embed_dim, init);
}

struct TextParts {
  std::int64_t embed_dim, num_labels;
  const Initializer& init;
};

std::unique_ptr<TextTower> make(const CausalTransformerConfig& c, const TextParts& parts) {
  return std::make_unique<CausalTransformer>(c, parts.embed_dim, parts.init);
}

std::unique_ptr<TextTower> make(const BertConfig& c, const TextParts& parts) {
  return std::make_unique<Bert>(c, parts.embed_dim, parts.init);
}

std::unique_ptr<TextTower> make(const LabelEmbeddingConfig&, const TextParts& parts) {
  return std::make_unique<LabelEmbedding>(parts.num_labels, parts.embed_dim, parts.init);
}

}  // namespace

std::unique_ptr<ImageTower> make_image_tower(const ModelConfig& config, Width embed_dim, const Initializer& init) {
  return std::visit([&](const auto& tower) { return make(tower, embed_dim, init); }, config.image);
}

std::unique_ptr<TextTower> make_text_tower(const ModelConfig& config, std::int64_t num_labels,
                                           const Initializer& init) {
  const TextParts parts{config.embed_dim, num_labels, init};
  return std::visit([&](const auto& tower) { return make(tower, parts); }, config.text);
}

}  // namespace triptych

// The towers by type, and weights to start from.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "core/model/model_config.h"
#include "core/model/towers.h"
#include "core/module/initializer.h"

namespace triptych {

/// embed_dim nullopt: without a projection.
std::unique_ptr<ImageTower> make_image_tower(const ModelConfig& config, std::optional<std::int64_t> embed_dim,
                                             const Initializer& init);
/// num_labels: of the corpora, for towers that embed labels.
std::unique_ptr<TextTower> make_text_tower(const ModelConfig& config, std::int64_t num_labels, const Initializer& init);

}  // namespace triptych

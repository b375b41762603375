// What LOUPE trains (Li et al., NeurIPS 2022, arXiv:2208.02515, section 3): two towers, a region head over the cells
// of the image tower, and networks that predict Shapley interactions.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model/bert.h"
#include "core/model/model_config.h"
#include "core/model/region_head.h"
#include "core/model/towers.h"
#include "core/model/unsil.h"

namespace triptych {

/// Which parts there are beside the towers.
struct LoupeShape {
  double temperature = 0.07;
  bool learn_temperature = true, attention_pool = false;
  std::int64_t region_hidden = 0;  ///< of the region head; 0: there is none
  double least_region = 0;         ///< side of its boxes
  bool pooled_confidence = true;
  std::string network = {};  ///< a form of unsil_forms(); what plays in each game follows. Nothing: no network there
  std::optional<UnsilShape> tokens = {}, phrases = {};
};

/// A learnt query looks at the cells: sum_k softmax_k(w . x_k) x_k.
class CellAttention : public Module {
 public:
  CellAttention(std::int64_t width, const Initializer& init);
  at::Tensor forward(const at::Tensor& cell_nkd) const;  ///< [n, cells, width] -> [n, width]

 private:
  at::Tensor query_;  ///< [width]
};

/// Names: OpenCLIP's for the towers, then region_head.*, region_confidence.*, unsil.tokens.*, unsil.phrases.*,
/// image_pool.*, temperature.
class LoupeModel : public Module {
 public:
  /// config.image must have a grid, config.text be a bert.
  LoupeModel(const ModelConfig& config, const LoupeShape& shape, const Initializer& init);
  const ImageTower& visual() const { return *visual_; }
  const Bert& text() const { return text_; }
  /// Divides cosine similarities: a scalar, a parameter where it is learnt.
  const at::Tensor& temperature() const { return temperature_; }
  /// Of the picture's one row [n, embed_dim], not of unit length.
  at::Tensor image_embedding(const ImageStates& states) const;
  at::Tensor image_feature(const ImageStates& states) const;  ///< before the projection
  /// null: without regions.
  const RegionHead* regions() const { return regions_.get(); }
  /// Confidence from pooled states [..., width] -> logits [...]; undefined where the head's own counts.
  at::Tensor confidence(const at::Tensor& pooled) const;
  /// Of the region head and the networks, which some steps use in part only.
  std::vector<NamedTensor> fine_parameters() const;
  const Unsil* token_network() const { return token_network_.get(); }
  const Unsil* phrase_network() const { return phrase_network_.get(); }

 private:
  std::unique_ptr<ImageTower> visual_;
  Bert text_;
  at::Tensor temperature_;
  std::unique_ptr<CellAttention> pool_;
  std::unique_ptr<RegionHead> regions_;
  std::unique_ptr<Linear> confidence_;
  std::unique_ptr<Unsil> token_network_, phrase_network_;
};

}  // namespace triptych

// Supervised contrastive learning (Khosla et al., arXiv:2004.11362) as a baseline for image_label corpora: an image
// tower and a linear projection (the paper allows it beside an MLP), two augmented views of each picture (section 3).
#pragma once
#include <memory>

#include "core/model/towers.h"
#include "core/objective/build_context.h"
#include "core/objective/objective.h"
#include "core/objective/objective_config.h"

namespace triptych {

/// An image tower with OpenCLIP's names, below "visual.".
class ImageModel : public Module {
 public:
  explicit ImageModel(std::unique_ptr<ImageTower> visual) : visual_(std::move(visual)) { child("visual", *visual_); }
  const ImageTower& visual() const { return *visual_; }

 private:
  std::unique_ptr<ImageTower> visual_;
};

class SupConObjective : public Objective {
 public:
  /// Throws ConfigError if the corpus has no labels.
  SupConObjective(const SupConConfig& config, const ModelConfig& model, const CorpusFacts& facts,
                  const BuildContext& context);
  BatchSpec needs() const override { return needs_; }
  /// {views [b, 2, d]}.
  std::vector<at::Tensor> encode(const Batch& micro_batch, StepScope& scope) override;
  bool begin_step_changes_state() const override { return false; }
  LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) override;
  Module& module() override { return model_; }
  /// The image embedding is that before the projection, which the paper throws away after training.
  Encoders encoders() override;

 private:
  at::Tensor features(const at::Tensor& images, const ForwardScope& scope);  ///< [n, h, w, 3] -> [n, feature width]

  SupConConfig config_;
  CorpusFacts facts_;
  BuildContext context_;
  BatchSpec needs_;
  ImageModel model_;
};

}  // namespace triptych

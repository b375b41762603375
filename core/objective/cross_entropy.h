// Supervised classification as a baseline for image_label corpora: an image tower without projection and a linear head
// over all labels of the corpora.
#pragma once
#include <memory>

#include "core/model/towers.h"
#include "core/module/layers.h"
#include "core/objective/build_context.h"
#include "core/objective/objective.h"
#include "core/objective/objective_config.h"

namespace triptych {

/// "visual.*" with OpenCLIP's names, and "head.weight", "head.bias".
class Classifier : public Module {
 public:
  Classifier(std::unique_ptr<ImageTower> visual, std::int64_t num_labels, const Initializer& init);
  const ImageTower& visual() const { return *visual_; }
  at::Tensor logits(const at::Tensor& features) const { return head_.forward(features); }

 private:
  std::unique_ptr<ImageTower> visual_;
  Linear head_;
};

class CrossEntropyObjective : public Objective {
 public:
  /// Throws ConfigError if the corpus has no labels.
  CrossEntropyObjective(const CrossEntropyConfig& config, const ModelConfig& model, const CorpusFacts& facts,
                        const BuildContext& context);
  BatchSpec needs() const override { return needs_; }
  /// {logits [b, labels]}.
  std::vector<at::Tensor> encode(const Batch& micro_batch, StepScope& scope) override;
  bool begin_step_changes_state() const override { return false; }
  LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) override;
  Module& module() override { return model_; }
  /// The image embedding is the tower's feature, of unit length.
  Encoders encoders() override;

 private:
  at::Tensor features(const at::Tensor& images, const ForwardScope& scope);  ///< [n, h, w, 3] -> [n, feature width]

  CrossEntropyConfig config_;
  CorpusFacts facts_;
  BuildContext context_;
  BatchSpec needs_;
  Classifier model_;
};

}  // namespace triptych

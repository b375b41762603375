// The wiring that objectives with an image tower, a text tower and a contrastive loss over all ranks share: UniCL,
// CLIP.
#pragma once
#include <functional>

#include "core/model/dual_encoder.h"
#include "core/objective/build_context.h"
#include "core/objective/objective.h"
#include "losses/class_ids.h"
#include "losses/loss_output.h"

namespace triptych {

/// The loss of a rank's unit rows, images [b, d] with their labels and texts [k, d], those of an image one below the
/// other, at a multiplier, with matrix products of a type. Collective.
using PairLoss =
    std::function<LossOutput(const at::Tensor& image_bd, const at::Tensor& text_kd, const RowLabels& labels,
                             const at::Tensor& scale, Collectives& comm, at::ScalarType products)>;

class ContrastiveObjective : public Objective {
 public:
  ContrastiveObjective(const ModelConfig& model, const CorpusFacts& facts, const BuildContext& context,
                       bool clamp_scale, PairLoss loss);
  BatchSpec needs() const override { return needs_; }
  /// Tells the loader that the loss takes rows of two labels.
  void take_mixed_labels() { needs_.mixed_labels = true; }
  LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) override;
  /// Keeps the logarithm of the logit scale in [0, log 100] if asked to.
  void after_update(StepScope& scope) override;
  Module& module() override { return model_; }
  Encoders encoders() override;

 private:
  at::Tensor image_embedding(const at::Tensor& images, const at::Generator& draws);  ///< [n, h, w, 3] -> [n, d]
  at::Tensor text_embedding(const at::Tensor& tokens);                               ///< [..., context] -> [..., d]

  CorpusFacts facts_;
  BuildContext context_;
  BatchSpec needs_;
  bool clamp_scale_;
  PairLoss loss_;
  DualEncoder model_;
};

}  // namespace triptych

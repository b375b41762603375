// The wiring that objectives with an image tower, a text tower and a contrastive loss over all ranks share: UniCL,
// CLIP, SigLIP.
#pragma once
#include <functional>
#include <optional>

#include "core/model/dual_encoder.h"
#include "core/objective/build_context.h"
#include "core/objective/objective.h"
#include "losses/class_ids.h"
#include "losses/loss_output.h"

namespace triptych {

/// What a loss of images and texts sees of a rank.
struct PairRows {
  at::Tensor image_bd, text_kd;  ///< unit rows, the texts of an image one below the other
  RowLabels labels;              ///< of the images
  at::Tensor scale, bias;        ///< multiplier of the products and what is added; the bias may be undefined
  at::ScalarType products;       ///< type of the matrix products
};
/// Collective.
using PairLoss = std::function<LossOutput(const PairRows& rows, Collectives& comm)>;

/// How the logits' own parameters start and stay.
struct LogitConfig {
  bool clamp_scale = true;          ///< the logarithm of the multiplier stays in [0, log 100]
  std::optional<double> bias = {};  ///< initial; none: no bias
};

class ContrastiveObjective : public Objective {
 public:
  ContrastiveObjective(const ModelConfig& model, const CorpusFacts& facts, const BuildContext& context,
                       const LogitConfig& logits, PairLoss loss);
  BatchSpec needs() const override { return needs_; }
  /// Tells the loader that the loss takes rows of two labels.
  void take_mixed_labels() { needs_.mixed_labels = true; }
  /// {images [b, d], texts [b, n, d]}.
  std::vector<at::Tensor> encode(const Batch& micro_batch, StepScope& scope) override;
  bool begin_step_changes_state() const override { return false; }
  LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) override;
  /// Keeps the logarithm of the logit scale in [0, log 100] if asked to.
  void after_update(StepScope& scope) override;
  Module& module() override { return model_; }
  Encoders encoders() override;

 private:
  at::Tensor image_features(const at::Tensor& images, const ForwardScope& scope);   ///< [n, h, w, 3] -> [n, width]
  at::Tensor image_embedding(const at::Tensor& images, const ForwardScope& scope);  ///< [n, h, w, 3] -> [n, d]
  at::Tensor text_embedding(const at::Tensor& tokens, const ForwardScope& scope);   ///< [..., context] -> [..., d]
  /// What the text tower reads, [b, texts, context]: tokens, or labels.
  at::Tensor texts(const Batch& batch) const;

  CorpusFacts facts_;
  BuildContext context_;
  BatchSpec needs_;
  LogitConfig logits_;
  PairLoss loss_;
  DualEncoder model_;
};

}  // namespace triptych

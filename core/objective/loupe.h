// LOUPE: fine-grained vision-language pretraining by Shapley interactions (Li et al., NeurIPS 2022, arXiv:2208.02515).
// Two towers under a contrastive loss; regions that are one thing, found by a game of cells; phrases that mean regions,
// found by a game of both. docs/objectives.md draws the flow of data.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/model/loupe_model.h"
#include "core/objective/build_context.h"
#include "core/objective/loss_sum.h"
#include "core/objective/loupe_config.h"
#include "core/objective/objective.h"
#include "core/objective/phrase_rows.h"
#include "core/objective/running_moments.h"

namespace triptych {

class LoupeObjective : public Objective {
 public:
  /// Throws ConfigError where model, corpora and settings cannot work together.
  LoupeObjective(const LoupeConfig& config, const ModelConfig& model, const CorpusFacts& facts,
                 const BuildContext& context);
  BatchSpec needs() const override { return needs_; }
  /// Which parts of the graph a rank has depends on its gates.
  SyncForm sync_form() const override { return SyncForm::kFlat; }
  /// {images [b, d], texts [b, d], confidence logits [b, M], similarities [b, M, P]}; the last two only with their
  /// levels.
  std::vector<at::Tensor> encode(const Batch& micro_batch, StepScope& scope) override;
  bool begin_step_changes_state() const override { return false; }
  /// The contrast meets all ranks' rows; both games and the network stay inside a micro-batch.
  LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) override;
  /// The temperature stays in its bounds; interactions of this step enter the moments by which they are standardised.
  void after_update(StepScope& scope) override;
  void visit_state(StateVisitor& visitor) override;
  Module& module() override { return model_; }
  Encoders encoders() override;
  /// The networks of interactions.
  std::vector<std::string> clipped_apart() const override;

 private:
  /// What a micro-batch brings, on the model's device.
  struct Rows {
    const Batch& batch;
    at::Tensor tokens;  ///< [n, tokens], cut to the longest text
    PhraseRows phrases;
  };
  /// A micro-batch as the towers see it.
  struct Encoded {
    at::Tensor embedded;  ///< image tokens before the blocks, without graph
    ImageStates image;
    at::Tensor text_nld, image_nd, text_nd;  ///< embeddings of unit length
  };
  /// The most confident regions of each picture.
  struct Chosen {
    RegionBoxes boxes;         ///< [n, M]
    at::Tensor inside_nmk;     ///< bool: cells inside
    at::Tensor embedding_nmd;  ///< unit rows
  };
  /// What a network's labels look like, and what this step adds. Raw labels never add: a mean of 0, a deviation of 1.
  struct Level {
    RunningMoments moments;
    at::Tensor pending = {};
  };

  bool has_tokens() const { return config_.tokens.weight > 0; }
  bool has_phrases() const { return config_.phrases.weight > 0; }
  bool past_warmup(const StepScope& scope) const { return scope.clock().step >= config_.unsil.warmup; }
  Rows rows_of(const Batch& batch) const;
  Encoded encoded(const Rows& rows, StepScope& scope);
  at::Tensor cell_embeddings(const at::Tensor& states) const;
  Chosen chosen_regions(const at::Tensor& cell_nkd) const;
  at::Tensor phrase_embeddings(const Rows& rows, const at::Tensor& text_nld) const;
  /// Of Encoders::explain; needs a region head.
  PairGames explained(const PictureAndCaption& pair);

  /// Adds the contrast and differentiates it at the embeddings and at the temperature, whose gradient is returned.
  at::Tensor add_contrast(const at::Tensor& image_bd, const at::Tensor& text_bd, StepScope& scope, LossSum& sum);
  void add_fine(const Rows& rows, const Encoded& states, double share, StepScope& scope, LossSum& sum);
  void add_tokens(const Rows& rows, const Encoded& states, const Chosen& chosen, double share, StepScope& scope,
                  LossSum& sum);
  void add_phrases(const Rows& rows, const Encoded& states, const Chosen& chosen, double share, StepScope& scope,
                   LossSum& sum);
  /// Interactions of the regions numbered `targets` (of all n M) by the sampler, [t].
  at::Tensor sampled_regions(const Rows& rows, const Encoded& states, const Chosen& chosen, const at::Tensor& targets_t,
                             StepScope& scope, LossSum& sum, double share);
  /// Interactions of all pairs, fp64 [n, M, P] on the CPU.
  at::Tensor phrase_interactions(const at::Tensor& alike_nmp, const at::Tensor& count_n, std::int64_t first_position,
                                 StepScope& scope) const;
  /// Instability of the step's labels and error of the network, over the sampled regions of all ranks. Collective.
  void note_sampled(StepScope& scope, LossSum& sum);
  UnsilInputs region_inputs(const Rows& rows, const Encoded& states, const Chosen& chosen,
                            const at::Tensor& targets_t) const;
  UnsilInputs pair_inputs(const at::Tensor& region_nmd, const at::Tensor& phrase_npd, const at::Tensor& valid_np,
                          const at::Tensor& targets_t) const;
  /// The network's own loss on what the sampler said. Collective.
  void teach(const Unsil& network, const char* name, const UnsilInputs& inputs, const at::Tensor& raw_t, Level& level,
             double share, StepScope& scope, LossSum& sum);

  LoupeConfig config_;
  CorpusFacts facts_;
  BuildContext context_;
  BatchSpec needs_;
  LoupeModel model_;
  Level token_level_, phrase_level_;
  /// Over the regions that were sampled in this step, summed: how far two estimates would differ, how far the network
  /// was off, and how large the interaction is, each without its sign.
  at::Tensor sampled_sums_3_;
};

}  // namespace triptych

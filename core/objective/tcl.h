// TCL: vision-language pretraining with triple contrastive learning (Yang et al., CVPR 2022, arXiv:2202.10401): a
// student, momentum copies of its encoders, queues of their embeddings, and five losses. docs/objectives.md draws the
// flow of data.
#pragma once
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "core/model/fusion_model.h"
#include "core/objective/build_context.h"
#include "core/objective/embedding_queue.h"
#include "core/objective/loss_sum.h"
#include "core/objective/momentum.h"
#include "core/objective/objective.h"
#include "core/objective/objective_config.h"
#include "losses/hard_negatives.h"
#include "losses/local_contrast.h"
#include "losses/masked_words.h"

namespace triptych {

/// What a test may prescribe instead of what would be drawn.
struct TclHooks {
  std::function<double(const StepClock&)> alpha;
  std::function<MaskedWords(const Batch& batch, const at::Tensor& tokens)> mask;
  enum class Side { kTextsForImages, kImagesForTexts };
  std::function<at::Tensor(const Batch& batch, Side side)> negatives;  ///< int64 [rows]
};

class TclObjective : public Objective {
 public:
  /// Throws ConfigError where model, corpora and settings cannot work together.
  TclObjective(const TclConfig& config, const ModelConfig& model, const CorpusFacts& facts,
               const BuildContext& context);
  BatchSpec needs() const override { return needs_; }
  /// Text layers get gradients from several passes, and from every micro-batch.
  SyncForm sync_form() const override { return SyncForm::kFlat; }
  /// {images [b, d], texts [b, d], match logits [3 b, 2], logits of the masked words [n, vocabulary]}.
  std::vector<at::Tensor> encode(const Batch& micro_batch, StepScope& scope) override;
  /// Clamps the temperature; momentum encoders follow the student of the last update.
  void begin_step(StepScope& scope) override;
  LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) override;
  /// The step's momentum embeddings enter the queues.
  void after_update(StepScope& scope) override;
  void visit_state(StateVisitor& visitor) override;
  Module& module() override { return model_; }
  Encoders encoders() override;
  void prescribe(TclHooks hooks) { hooks_ = std::move(hooks); }

 private:
  /// A micro-batch as encoders see it: states of all tokens, embeddings [n, d] of unit length.
  struct Encoded {
    at::Tensor image_nkc, text_nld, image_nd, text_nd;
  };
  /// What a micro-batch brings, on the model's device.
  struct Rows {
    const Batch& batch;
    at::Tensor tokens;  ///< [n, tokens], cut to the longest text where no other rank's texts are met
    at::Tensor labels;  ///< int64 [n]
  };
  /// Embeddings that take no gradient, and the row of them where this rank's begin.
  struct Keys {
    at::Tensor image_nd, text_nd, labels_n;
    std::int64_t own = 0;
  };
  /// This rank's rows, micro-batch by micro-batch.
  struct Local {
    std::vector<Rows> rows;
    std::vector<Encoded> student, teacher;  ///< with several: empty until each is made again, with graph
    Encoded aligned, taught;                ///< embeddings of all rows, no states; `aligned` are leaves
    at::Tensor labels_b, temperature;       ///< the leaf that stands for the model's
  };

  bool global_negatives() const { return config_.negatives == "global"; }
  Rows rows_of(const Batch& batch) const;
  Encoded student(const Rows& rows, StepScope& scope);
  Encoded teacher(const Rows& rows, StepScope& scope);
  Encoded encoded(const AlignedEncoders& model, const Rows& rows, int view, const ForwardScope& image,
                  const ForwardScope& text, StepScope& scope) const;
  Keys gathered(const at::Tensor& image_nd, const at::Tensor& text_nd, const at::Tensor& labels_n,
                Collectives& comm) const;

  Local encoded_rows(std::span<const Batch> micro_batches, StepScope& scope);
  /// The alignment losses and their backward, which stops at `aligned` and `temperature`.
  void align(const Local& local, StepScope& scope, LossSum& sum);
  /// The backward through the towers of micro-batch i, whose rows begin at `first`: from its own losses, and from the
  /// gradients that the alignment left.
  void differentiate(const Local& local, std::size_t i, std::int64_t first, const at::Tensor& loss, StepScope& scope);

  // In tcl_losses.cpp.
  double alpha(const StepClock& clock) const;
  MaskedWords masked(const Rows& rows, StepScope& scope) const;
  void add_alignment(const Encoded& student, const Encoded& teacher, const Keys& keys, const at::Tensor& temperature,
                     StepScope& scope, LossSum& sum) const;
  void add_locals(const Rows& rows, const Encoded& student, const Encoded& teacher, double share, StepScope& scope,
                  LossSum& sum);
  void add_matching(const Rows& rows, const Encoded& student, const Encoded& teacher, double share, StepScope& scope,
                    LossSum& sum);
  void add_words(const Rows& rows, const MaskedWords& words, std::int64_t count, const Encoded& student,
                 const Encoded& teacher, StepScope& scope, LossSum& sum);

  /// Logits of pairs [3 n, 2]: n that match, n texts with a wrong image, n images with a wrong text; and which rows
  /// count, bool [3 n].
  std::pair<at::Tensor, at::Tensor> match_logits(const Rows& rows, const Encoded& student, const Encoded& teacher,
                                                 StepScope& scope);
  /// Of the words at `places` [m] of the flattened tokens: [m, vocabulary].
  at::Tensor word_logits(const AlignedEncoders& model, const at::Tensor& tokens, const at::Tensor& image_nkc,
                         const at::Tensor& places, const ForwardScope& forward) const;

  TclConfig config_;
  CorpusFacts facts_;
  BuildContext context_;
  BatchSpec needs_;
  FusionModel model_;
  AlignedEncoders average_;  ///< momentum copies
  Momentum momentum_;
  EmbeddingQueue queue_;
  std::int64_t vocabulary_;
  TclHooks hooks_;
  std::optional<Keys> latest_;  ///< all ranks' rows of this step
};

}  // namespace triptych

// A published method: its towers, its losses and what it remembers. One method a file beside this one; the table of all
// of them is in objective_table.cpp.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/module/module.h"
#include "core/objective/pair_games.h"
#include "core/objective/step_scope.h"
#include "core/types/batch.h"
#include "distributed/gradient_sync.h"

namespace triptych {

/// What a fusion encoder says of pairs: whether a text describes a picture. Evaluation mode, no graph. States are kept
/// apart from the score, because each picture and each text meets many partners.
struct PairMatcher {
  /// uint8 [n, height, width, 3] -> states of all image tokens [n, tokens, width].
  std::function<at::Tensor(const at::Tensor& images)> image_states;
  /// int64 [n, context] -> states of all text tokens [n, context, width].
  std::function<at::Tensor(const at::Tensor& tokens)> text_states;
  /// n pairs: states of pictures and texts, and the texts' tokens (for their padding) -> logit of "they match", [n].
  std::function<at::Tensor(const at::Tensor& image_states, const at::Tensor& text_states, const at::Tensor& tokens)>
      score;
};

/// What a region head finds in n pictures, the most confident first.
struct RegionProposals {
  at::Tensor box_nM4;        ///< left, top, right, bottom as shares of the picture's sides, in [0, 1]
  at::Tensor confidence_nM;  ///< in (0, 1)
  at::Tensor embedding_nMd;  ///< unit rows, comparable with texts
};

/// What evaluation and export use: evaluation mode, no graph, no draws. Pictures are uint8 [n, height, width, 3] on the
/// model's device, tokens int64 [n, context]; embeddings [n, d] have unit rows.
struct Encoders {
  std::function<at::Tensor(const at::Tensor& images)> image;  ///< always there
  std::function<at::Tensor(const at::Tensor& tokens)> text;   ///< empty if the objective has no text tower
  /// Logits [n, labels] of the objective's own head; empty if it has none.
  std::function<at::Tensor(const at::Tensor& images)> classify;
  std::optional<at::Tensor> scale;  ///< multiplier of cosine similarities
  /// The image tower's own rows [n, feature width], before projection, head and normalisation; always there.
  std::function<at::Tensor(const at::Tensor& images)> features = {};
  std::optional<PairMatcher> match = {};  ///< nothing without a fusion encoder
  /// Embeddings of a square grid of cells, row by row: [n, cells, d], unit rows comparable with texts. Empty if the
  /// objective aligns pictures as a whole only.
  std::function<at::Tensor(const at::Tensor& images)> patches = {};
  std::function<RegionProposals(const at::Tensor& images)> regions = {};  ///< empty without a region head
  /// One picture and caption as games of their parts; empty if the objective learns from none.
  std::function<PairGames(const PictureAndCaption& pair)> explain = {};
};

class Objective {
 public:
  virtual ~Objective() = default;
  virtual BatchSpec needs() const = 0;
  virtual SyncForm sync_form() const { return SyncForm::kReducer; }
  /// The forward of a micro-batch up to what its loss is computed from, each [rows, ...]; with graph where gradients
  /// are enabled. On a meta model and a meta batch it runs on shapes alone: how memory and work are planned.
  virtual std::vector<at::Tensor> encode(const Batch& micro_batch, StepScope& scope) = 0;
  /// Clamps, momentum updates: once at the start of a step, the same on every rank.
  virtual void begin_step(StepScope&) {}
  /// Whether begin_step changes what visit_state lists. Then a checkpoint must be copied before it, not only before the
  /// update. An objective that overrides begin_step and not this is safe and waits longer.
  virtual bool begin_step_changes_state() const { return true; }
  /// Forward and backward of this rank's rows, cut into micro-batches of equal size: adds this rank's gradients.
  /// Collective.
  virtual LossReport accumulate(std::span<const Batch> micro_batches, StepScope& scope) = 0;
  /// After the update: queues. Not called when the step was skipped.
  virtual void after_update(StepScope&) {}
  /// Everything that a resumed run needs beyond the configuration. What is beside the model's own is counted in plans
  /// as a queue where its name begins with "queue.", else as an average of weights.
  virtual void visit_state(StateVisitor& visitor) { module().visit_state(visitor); }
  virtual Module& module() = 0;
  virtual Encoders encoders() = 0;
  /// Parameters whose name makes them exempt from weight decay although they are matrices (or the reverse) are decided
  /// by the optimizer's rule; an objective lists exceptions here by full name.
  virtual std::vector<std::string> no_decay() const { return {}; }
  /// Names of parameters whose gradients touch no others': optimizer.clip_norm scales them by a norm of their own, so
  /// that a step of theirs that is too large does not shorten everybody else's.
  virtual std::vector<std::string> clipped_apart() const { return {}; }
};

}  // namespace triptych

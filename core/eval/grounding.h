// Phrase grounding: does the box that fits the words of a phrase best lie on what they name?
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/eval/held_out.h"
#include "core/eval/record_boxes.h"

namespace triptych {

/// Of each phrase that the file of boxes names in a picture, the embedding of its words alone is compared with all
/// regions of that picture, as LOUPE does on RefCOCO (Li et al. 2022, arXiv:2208.02515, section 4): the box of the
/// nearest one is right when it overlaps an object that the phrase names by an IoU of at least 0.5. Several objects
/// with the same words are one phrase, and any of them will do. `proposals: activation` needs no region head: the box
/// around the cells that light up (activation_boxes.h).
///
/// Of equal similarities the first region counts, which is the most confident one; a phrase with a similarity that is
/// not finite is missed.
class Grounding : public Evaluator {
 public:
  /// Throws ConfigError as RecordBoxes does, and when no record's picture has a phrase.
  Grounding(const GroundingConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode);
  std::string name() const override { return name_; }
  Needs needs() const override;
  std::vector<std::string> metric_names() const override;
  /// accuracy_50 and accuracy_30 (IoU of at least 0.5 and 0.3), mean_iou, pointing (the box's centre lies in an
  /// object), chance (accuracy_50 of a region picked blindly; of the whole picture under `activation`), phrases,
  /// samples (pictures with a phrase), dropped (objects that the view cuts away), unusable.
  std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) override;

 private:
  std::string name_, proposals_;
  double threshold_;
  HeldOut held_out_;
  RecordBoxes boxes_;
};

}  // namespace triptych

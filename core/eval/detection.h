// Open-vocabulary detection: objects of named classes, found by the text of each class.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/eval/held_out.h"
#include "core/eval/record_boxes.h"

namespace triptych {

/// Mean average precision over the classes of the file of boxes, as LOUPE measures it (Li et al. 2022,
/// arXiv:2208.02515, section 4): every region of a picture is a detection of every class, scored by the similarity of
/// region and class text; repeated boxes of a class are suppressed, then the `most` best detections of the picture are
/// kept, over all classes. With `proposals: activation` a class has one box a picture, around the cells that light up
/// (activation_boxes.h), with the score of the best cell. Matching and the curve are COCO's (box_metrics.h); crowds are
/// neither found nor missed.
///
/// `score`: `cosine` compares a class's detections over pictures by the cosine alone; `softmax` is the share of the
/// class among all classes, exp(s cos) / sum exp(s cos) with the objective's multiplier s.
///
/// Among equal scores the lower class, then the first region comes first. A score that is not finite is a miss before
/// all others.
class Detection : public Evaluator {
 public:
  /// Throws ConfigError as RecordBoxes does, when no record's picture has an object that is no crowd, and as
  /// load_prompts does. The corpus may be of either kind: neither captions nor labels are used.
  Detection(const DetectionConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode);
  std::string name() const override { return name_; }
  Needs needs() const override;
  std::vector<std::string> metric_names() const override;
  /// map_50, map_30 (IoU of at least 0.5 and 0.3; the mean over classes that have an instance), samples (pictures),
  /// instances (objects that are no crowds), classes (of the file: all are asked for), present_classes (with an
  /// instance), dropped (objects that the view cuts away), unusable. Throws ConfigError for `score: softmax` when the
  /// encoders have no multiplier.
  std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) override;

 private:
  std::string name_;
  DetectionConfig config_;
  std::vector<std::string> templates_;
  HeldOut held_out_;
  RecordBoxes boxes_;
};

}  // namespace triptych

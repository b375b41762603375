// The `eval` section: a list of evaluators, each with its corpus and when it runs.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/base/config.h"
#include "core/base/duration.h"
#include "data/corpus_config.h"

namespace triptych {

struct ZeroShotConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "zero_shot";
  std::string label;
  CorpusConfig corpus;
  std::string prompts = "clip81";
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics: eval/LABEL/...; empty: zero_shot");
    field("corpus", c.corpus, "held-out image_label corpus");
    field("prompts", c.prompts, "templates averaged per class: clip81, plain, or a text file");
    field("every", c.every, "how often during training; also at the end");
  }
};

struct RetrievalConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "retrieval";
  std::string label;
  CorpusConfig corpus;
  std::int64_t rerank = 0;
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics: eval/LABEL/...; empty: retrieval");
    field("corpus", c.corpus, "held-out image_text corpus; every caption of a picture counts as its text");
    field("rerank", c.rerank,
          "candidates of each query that the fusion encoder scores again; published: 256 (COCO), 128 (Flickr); 0: none",
          at_least(0));
    field("every", c.every, "how often during training; also at the end");
  }
};

struct ClassifyConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "classify";
  std::string label;
  CorpusConfig corpus;
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics: eval/LABEL/...; empty: classify");
    field("corpus", c.corpus, "held-out image_label corpus whose class names the training corpora know");
    field("every", c.every, "how often during training; also at the end");
  }
};

struct KnnConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "knn";
  std::string label;
  CorpusConfig corpus, bank;
  std::int64_t k = 20;
  double temperature = 0.07;
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics: eval/LABEL/...; empty: knn");
    field("corpus", c.corpus, "held-out image_label corpus");
    field("bank", c.bank, "image_label corpus whose embeddings vote; classes are matched by name");
    field("k", c.k, "neighbours that vote", at_least(1));
    field("temperature", c.temperature, "a neighbour's vote weighs exp(similarity / temperature)", positive());
    field("every", c.every, "how often during training; also at the end");
  }
};

struct LinearProbeConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "linear_probe";
  std::string label;
  CorpusConfig corpus, bank;
  std::vector<double> l2 = {1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10};
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics: eval/LABEL/...; empty: linear_probe");
    field("corpus", c.corpus, "held-out image_label corpus");
    field("bank", c.bank, "image_label corpus on whose features the classifier is fitted; classes are matched by name");
    field("l2", c.l2,
          "penalties that are tried: l2 / 2 times the sum of squared weights is added to the mean loss of standardised "
          "features; every fifth picture of the bank chooses",
          positive());
    field("every", c.every, "how often during training; also at the end");
  }
  void validate() const {
    if (l2.empty())
      throw FieldError("l2", "is empty, expected at least one penalty; remove the key for the usual ones");
  }
};

/// Where boxes come from; `threshold` is used by one of the two only.
inline void check_proposals(const std::string& proposals, double threshold, double default_threshold) {
  if (proposals != "activation" && threshold != default_threshold)
    throw FieldError("threshold", "means something with proposals: activation only; remove it");
}

struct GroundingConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "grounding";
  std::string label;
  CorpusConfig corpus;
  std::string boxes;
  std::string proposals = "regions";
  double threshold = 0.5;
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics: eval/LABEL/...; empty: grounding");
    field("corpus", c.corpus, "held-out image_text corpus whose records have keys (webdataset, image_folder)");
    field("boxes", c.boxes,
          "file in COCO's JSON format: where the objects of each picture are and, as tokens_positive, the words of the "
          "caption that name them");
    field("proposals", c.proposals,
          "boxes among which a phrase chooses: those of the region head (regions), or one around the cells of the "
          "picture "
          "that are like the phrase (activation)",
          one_of({"regions", "activation"}));
    field("threshold", c.threshold,
          "proposals: activation: least similarity of a cell that belongs to the box; 0: the picture's least, 1: its "
          "greatest",
          between(0, 1));
    field("every", c.every, "how often during training; also at the end");
  }
  void validate() const {
    if (boxes.empty()) throw FieldError("boxes", "is not given; grounding needs a file of boxes");
    check_proposals(proposals, threshold, GroundingConfig{}.threshold);
  }
};

struct DetectionConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "detection";
  std::string label;
  CorpusConfig corpus;
  std::string boxes;
  std::string proposals = "regions";
  double threshold = 0.5;
  std::string prompts = "an image of {}";
  std::string score = "cosine";
  double nms = 0.5;
  std::int64_t most = 100;
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics: eval/LABEL/...; empty: detection");
    field("corpus", c.corpus, "held-out corpus whose records have keys (webdataset, image_folder)");
    field("boxes", c.boxes, "file in COCO's JSON format: the classes, and where their objects are in each picture");
    field("proposals", c.proposals,
          "boxes that are scored for each class: those of the region head (regions), or one around the cells of the "
          "picture that are like the class (activation)",
          one_of({"regions", "activation"}));
    field("threshold", c.threshold,
          "proposals: activation: least similarity of a cell that belongs to the box; 0: the picture's least, 1: its "
          "greatest",
          between(0, 1));
    field("prompts", c.prompts,
          "text of a class: one template with {} for its name, or as in zero_shot: clip81, plain, or a text file");
    field("score", c.score,
          "what orders the detections of a class: its similarity to the box (cosine), or its share among all classes "
          "there (softmax)",
          one_of({"cosine", "softmax"}));
    field("nms", c.nms,
          "proposals: regions: of two boxes of a class that overlap by more than this IoU the better one is kept",
          between(0, 1));
    field("most", c.most, "detections of a picture that count, the best of all classes", at_least(1));
    field("every", c.every, "how often during training; also at the end");
  }
  void validate() const {
    if (boxes.empty()) throw FieldError("boxes", "is not given; detection needs a file of boxes");
    check_proposals(proposals, threshold, DetectionConfig{}.threshold);
    if (proposals == "activation" && nms != DetectionConfig{}.nms)
      throw FieldError("nms", "means nothing with proposals: activation, which has one box of a class; remove it");
  }
};

using EvalConfig = std::variant<ZeroShotConfig, RetrievalConfig, ClassifyConfig, KnnConfig, LinearProbeConfig,
                                GroundingConfig, DetectionConfig>;

}  // namespace triptych

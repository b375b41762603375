// The `objective` section: the union of the published methods' own keys.
#pragma once
#include <string>
#include <variant>

#include "core/base/config.h"
#include "core/objective/loupe_config.h"

namespace triptych {

/// The same key of several objectives.
template <class Value, class Visit>
void exchange_field(Value& exchange, Visit&& field) {
  field("exchange", exchange,
        "how the loss meets the embeddings of the other ranks: gathered once (gather), or passed around a ring of "
        "ranks, a rank's rows at a time (ring): no rank holds them all, but they travel again in the backward",
        one_of({"gather", "ring"}));
}

struct UniclConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "unicl";
  std::string directions = "both";
  bool clamp_scale = false;
  std::string exchange = "gather";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("directions", c.directions,
          "softmax over texts for each image (rows), over images for each text (columns), or the "
          "mean of both",
          one_of({"both", "rows", "columns"}));
    field("clamp_scale", c.clamp_scale,
          "keep the logit scale's logarithm in [0, log 100], as CLIP; the paper leaves it free");
    exchange_field(c.exchange, field);
  }
};

struct ClipConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "clip";
  bool clamp_scale = true;
  std::string exchange = "gather";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("clamp_scale", c.clamp_scale, "keep the logit scale's logarithm in [0, log 100] after every update");
    exchange_field(c.exchange, field);
  }
};

struct SigLipConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "siglip";
  double init_bias = -10;
  bool clamp_scale = true;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("init_bias", c.init_bias,
          "initial value of the learnable bias of all logits; the paper starts the multiplier at 10: "
          "model.init_logit_scale: 2.302585");
    field("clamp_scale", c.clamp_scale, "keep the logit scale's logarithm in [0, log 100] after every update");
  }
};

struct CrossEntropyConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "cross_entropy";
  double label_smoothing = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label_smoothing", c.label_smoothing, "share of the target spread over all classes", between(0, 0.99));
  }
};

struct SupConConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "supcon";
  double temperature = 0.1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("temperature", c.temperature, "divides cosine similarities", positive());
  }
};

/// Local mutual information: patches and words.
struct LocalsConfig {
  std::int64_t cells = 4;
  std::string pool = "cells";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("cells", c.cells, "pool: cells averages patches to cells x cells locals", at_least(1));
    field(
        "pool", c.pool,
        "cells: any grid; published: window and stride w = floor(sqrt(grid)), as the released code, which gives w x w "
        "locals and works where floor(grid / w) = w: on grids of 4, 5, 9 to 11, 16 to 19, 25 to 29, ...",
        one_of({"cells", "published"}));
  }
  void validate() const {
    if (pool == "published" && cells != LocalsConfig{}.cells)
      throw FieldError("cells", "has no meaning with pool: published, which takes the grid's own; remove one of both");
  }
};

/// What each term of the loss counts. Published: the six alignment terms by 1/6, the others by 1.
struct TclWeights {
  double cma = 1.0 / 6, imc = 1.0 / 6, lmi = 1.0 / 6, itm = 1, mlm = 1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("cma", c.cma, "cross-modal alignment, of each of its two directions", positive());
    field("imc", c.imc, "intra-modal contrast, of images and of texts; 0: left out", at_least(0));
    field("lmi", c.lmi, "global to local contrast, of images and of texts; 0: left out", at_least(0));
    field("itm", c.itm, "image-text matching", positive());
    field("mlm", c.mlm, "masked words", positive());
  }
};

struct TclConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "tcl";
  double momentum = 0.995, alpha = 0.4, alpha_epochs = 1, temperature = 0.07, mask_probability = 0.15;
  std::int64_t queue = 65536;
  std::string negatives = "local", positives = "pair", mean = "global";
  LocalsConfig lmi;
  TclWeights weights;
  // Of BERT's uncased vocabulary; no keys, tests take others.
  std::int64_t start_word = 101, end_word = 102, mask_word = 103;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("momentum", c.momentum, "share that the momentum encoders keep of themselves in a step", between(0, 1));
    field("queue", c.queue, "embeddings of earlier steps that are negatives; at least train.global_batch", at_least(1));
    field("alpha", c.alpha, "share of the momentum encoders' softmax in the targets of alignment and masked words",
          between(0, 1));
    field("alpha_epochs", c.alpha_epochs, "alpha rises linearly from 0 for so many epochs", at_least(0));
    field("temperature", c.temperature, "initial divisor of similarities; stays in [0.001, 0.5]", between(0.001, 0.5));
    field("mask_probability", c.mask_probability,
          "share of the words that are guessed: 80 % of them masked, 10 % another word, 10 % as they are",
          between(0.001, 1));
    field("negatives", c.negatives,
          "whose rows are negatives in a step: the rank's own (local, as published), or all ranks' (global)",
          one_of({"local", "global"}));
    field("positives", c.positives,
          "pair: a picture's own caption (published); label: also those of its label, in the batch and in the queue, "
          "and never hard negatives",
          one_of({"pair", "label"}));
    field("mean", c.mean,
          "masked words are averaged over all ranks' (global), or by each rank over its own (rank, as published)",
          one_of({"global", "rank"}));
    field("lmi", c.lmi, "locals of a picture");
    field("weights", c.weights, "of the terms");
  }
};

using ObjectiveConfig =
    std::variant<UniclConfig, ClipConfig, SigLipConfig, CrossEntropyConfig, SupConConfig, TclConfig, LoupeConfig>;

}  // namespace triptych

// `objective: {name: loupe}`. Every key that fills a gap of the paper says so.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "core/base/config.h"

namespace triptych {

/// Boxes around cells of the image tower's last grid.
struct LoupeRegions {
  std::int64_t count = 8, hidden = 128;
  std::string confidence = "pooled", membership = "soft";
  double sharpness = 1, least = 0.3;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("count", c.count, "regions of a picture, the most confident of all cells' (paper: M, not given)",
          at_least(1));
    field("hidden", c.hidden, "channels of the head's hidden layer (paper: silent)", at_least(1));
    field("least", c.least,
          "least width and height of a box, as shares of the picture's: one of a single cell is worth nothing in the "
          "game "
          "of cells, and would stay so (paper: silent)",
          between(0, 0.9));
    field("confidence", c.confidence,
          "what a region's confidence is read from: its pooled cells, so that boxes learn from it (pooled), or its "
          "centre cell alone (token). Paper: silent, and its equation 8 gives boxes no gradient",
          one_of({"pooled", "token"}));
    field("membership", c.membership,
          "how cells count in a region's mean: soft at the box's edge, so that its size gets a gradient, or hard. "
          "Paper: silent",
          one_of({"soft", "hard"}));
    field("sharpness", c.sharpness,
          "of the soft edge; 1: membership falls from .88 to .12 within one cell (paper: silent)", positive());
  }
};

/// Token-level alignment: which regions are one thing (equations 3 to 8).
struct LoupeTokens {
  double weight = 1;
  std::int64_t coalitions = 8, members = 4, targets = 16, most_enumerated = 32, text_samples = 2;
  std::string sampler = "antithetic", label = "min_max", compute = "run";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("weight", c.weight, "of the loss L_TSA (paper: 1); 0: the level is left out", at_least(0));
    field("coalitions", c.coalitions,
          "coalitions that estimate a region's interaction (paper: 500 in its analysis, silent on training); even for "
          "antithetic",
          at_least(1));
    field("sampler", c.sampler,
          "naive: as equation 7; stratified: sizes spread evenly; antithetic: also each coalition with its complement",
          one_of({"naive", "stratified", "antithetic"}));
    field("members", c.members,
          "cells of a region whose single values are computed a coalition, drawn anew for each and scaled up, which "
          "leaves the mean as it is; 0: all, as equation 7",
          at_least(0));
    field("targets", c.targets,
          "most regions of a micro-batch that the sampler values; the others are the network's, "
          "or have no label (paper: all)",
          at_least(1));
    field(
        "most_enumerated", c.most_enumerated,
        "captions with at most so many coalitions of words have them all encoded, once for all regions. Paper: silent "
        "on words, equation 7 draws all players together",
        at_least(1));
    field("text_samples", c.text_samples,
          "for longer captions: coalitions of words drawn at each coalition of cells (paper: silent; equation 7 is 1)",
          at_least(1));
    field("label", c.label, "interactions of a picture's regions to targets in [0, 1] (paper: normalised, silent how)",
          one_of({"min_max", "sigmoid", "softmax"}));
    field("compute", c.compute,
          "matrix products of the masked forwards: as the run's precision, or bf16 (paper: silent)",
          one_of({"run", "bf16"}));
  }
};

/// Semantic-level alignment: which region is meant by which phrase (equations 9 to 11).
struct LoupePhrases {
  double weight = 1, temperature = 0.1;
  std::int64_t most = 6, fewest = 2, samples = 500, targets = 256;
  std::string convention = "fixed", value = "exact", directions = "both", label = "positive_min_max";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("weight", c.weight, "of the loss L_FSA (paper: 1); 0: the level is left out", at_least(0));
    field("most", c.most, "phrases of a caption that play, the first ones (paper: silent)", between(2, 16));
    field(
        "fewest", c.fewest,
        "captions with fewer phrases are left out of this level: of one phrase alone the softmax over phrases is 1 for "
        "every region (paper: silent)",
        between(1, 16));
    field("temperature", c.temperature,
          "divides similarities of regions and phrases before their softmax (paper: none)", positive());
    field("convention", c.convention,
          "absent players: dropped after a softmax over all (fixed), or before it (renormalised). Paper: silent",
          one_of({"fixed", "renormalised"}));
    field("value", c.value, "interactions: exact, or by the paper's sampler (sampled)", one_of({"exact", "sampled"}));
    field("samples", c.samples, "coalitions of a pair, for value: sampled (paper: 500 in its analysis)", at_least(1));
    field("targets", c.targets, "with unsil.level both: most pairs of a micro-batch that teach the network",
          at_least(1));
    field(
        "directions", c.directions,
        "the softmax of equation 11: over phrases for each region (rows), or also over regions for each phrase (both). "
        "Paper: \"similarly\"",
        one_of({"both", "rows"}));
    field("label", c.label, "interactions to targets in [0, 1] (paper: normalised, silent how)",
          one_of({"positive_min_max", "sigmoid", "softmax"}));
  }
};

/// UNSIL: a network that learns interactions and knows when it does not (equation 12).
struct LoupeUnsil {
  std::string type = "attention", level = "tokens";
  std::int64_t heads = 8, warmup = 200;
  double weight = 1, beta1 = 1, beta2 = 1, floor = 1e-3, moments_decay = 0.99;
  std::string labels = "standardised";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("type", c.type, "as published: conv, attention (the paper's choice), transformer; none: sampler alone",
          one_of({"none", "conv", "attention", "transformer"}));
    field("level", c.level,
          "interactions that it learns: of regions (tokens), whose sampler is dear, or also of pairs of region and "
          "phrase (both, as published)",
          one_of({"tokens", "both"}));
    field("heads", c.heads, "attention heads of transformer; divides model.embed_dim (paper: silent)", at_least(1));
    field("warmup", c.warmup, "steps in which the sampler alone gives labels (paper: \"first iterations\")",
          at_least(0));
    field("weight", c.weight, "of its loss (paper: silent; its equation 2 leaves the network out)", positive());
    field("beta1", c.beta1, "equation 12: the squared error is divided by beta1 x uncertainty (paper: not given)",
          positive());
    field("beta2", c.beta2, "equation 12: weight of the uncertainty (paper: not given)", positive());
    field("floor", c.floor, "least uncertainty that divides (paper: unbounded)", between(1e-6, 0.5));
    field("labels", c.labels,
          "what it regresses: interactions less their running mean over their running deviation (standardised), or as "
          "they are (raw). Paper: silent",
          one_of({"standardised", "raw"}));
    field("moments_decay", c.moments_decay,
          "what a step leaves of that mean and deviation; 0.99: about a hundred steps count (paper: silent)",
          between(0, 0.9999));
  }
};

struct LoupeConfig {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "loupe";
  double temperature = 0.07;
  bool learn_temperature = true;
  std::string image_feature = "mean", mean = "global";
  LoupeRegions regions;
  LoupeTokens tokens;
  LoupePhrases phrases;
  LoupeUnsil unsil;
  // Of BERT's uncased vocabulary; no keys, tests take others.
  std::int64_t start_word = 101, end_word = 102;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("temperature", c.temperature, "divides similarities of equation 1, at the start (paper: not given)",
          between(0.01, 0.5));
    field("learn_temperature", c.learn_temperature, "it is a parameter, in [0.01, 0.5] (paper: silent)");
    field("image_feature", c.image_feature,
          "what a picture's one row is: the image tower's own (mean: a swin's mean of cells, a vit's class token), or "
          "a learnt attention over cells (attention). Paper: a [CLS] that Swin does not have",
          one_of({"mean", "attention"}));
    field("mean", c.mean,
          "over regions, phrases and sampled targets: of all ranks (global), or of each (rank). Paper: silent",
          one_of({"global", "rank"}));
    field("regions", c.regions, "the region head");
    field("tokens", c.tokens, "token-level alignment");
    field("phrases", c.phrases, "semantic-level alignment");
    field("unsil", c.unsil, "the network that stands in for the sampler");
  }
  void validate() const;
};

}  // namespace triptych

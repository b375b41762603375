// The `optimizer` section.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "core/base/config.h"

namespace triptych {

/// The learning rate of some parameters.
struct LrFactorConfig {
  std::string match;
  double factor = 1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("match", c.match, "names of parameters; '*' stands for any characters: visual.* is the image tower");
    field("factor", c.factor, "times the learning rate", positive());
  }
  void validate() const {
    if (match.empty()) throw FieldError("match", "names no parameter; visual.* is the image tower");
  }
};

struct OptimizerConfig {
  std::string name = "adamw";
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.98};
  double eps = 1e-8;
  double weight_decay = 0.1;
  std::vector<std::string> decay_also = {};
  double clip_norm = 0;
  std::vector<std::string> freeze = {};
  std::vector<LrFactorConfig> lr_factors = {};
  double layer_decay = 1;
  bool shard = false;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("name", c.name, "which optimizer", one_of({"adamw"}));
    field("lr", c.lr, "peak learning rate, reached after warm-up", positive());
    field("betas", c.betas, "decay rates of the first and second moment");
    field("eps", c.eps, "added to the square root of the second moment", positive());
    field("weight_decay", c.weight_decay,
          "decoupled decay (times the learning rate) of matrices; norms, biases and scalars are exempt", at_least(0));
    field("decay_also", c.decay_also,
          "names of exempt parameters that are decayed all the same; '*' stands for any characters: temperature");
    field("clip_norm", c.clip_norm,
          "gradients are scaled down to this norm over all parameters (LOUPE's UNSIL by its own); 0: never",
          at_least(0));
    field("freeze", c.freeze, "names of parameters that are not trained; '*' stands for any characters: visual.*");
    field("lr_factors", c.lr_factors, "learning rates of their own, in shares of the common one");
    field("layer_decay", c.layer_decay,
          "each layer of a tower learns at this share of the rate of the layer above; 1: all alike", between(1e-6, 1));
    field("shard", c.shard,
          "each rank keeps the moments of its share of the parameters (ZeRO-1): memory for one more exchange a step; a "
          "checkpoint holds them all and resumes on any number of ranks");
  }
  void validate() const {
    for (const double beta : betas) {
      if (!(beta >= 0 && beta < 1)) throw FieldError("betas", "each must be in [0, 1)");
    }
  }
};

}  // namespace triptych

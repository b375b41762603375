// Which parameters are trained, and at which share of the learning rate: rules by name.
#pragma once
#include <string>
#include <vector>

#include "core/module/module.h"
#include "core/train/optimizer_config.h"

namespace triptych {

struct ParameterRule {
  bool frozen = false;
  double lr_factor = 1;
};

/// Whether `name` is what `pattern` says: '*' stands for any run of characters, dots included.
bool matches_name(const std::string& name, const std::string& pattern);

/// By parameter, in the order of `names`: frozen by optimizer.freeze; the factor is the product of every lr_factors
/// entry that matches and of layer_decay^(layers above), where the layers of a tower of n blocks are its embeddings
/// (0), its blocks (1 to n) and what follows them (n + 1), as in BEiT (arXiv:2106.08254); parameters of no tower
/// (logit_scale) keep theirs. Throws ConfigError: a pattern that matches nothing, or nothing that is left to train.
std::vector<ParameterRule> parameter_rules(const OptimizerConfig& config, const std::vector<std::string>& names);

/// The rules of these parameters; frozen ones no longer require gradients.
std::vector<ParameterRule> freeze_parameters(const OptimizerConfig& config, const std::vector<NamedTensor>& parameters);

}  // namespace triptych

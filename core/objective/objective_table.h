// Makes the objective that a configuration names.
#pragma once
#include <memory>
#include <string>

#include "core/model/model_config.h"
#include "core/objective/build_context.h"
#include "core/objective/objective.h"
#include "core/objective/objective_config.h"
#include "losses/unicl.h"

namespace triptych {

/// Throws ConfigError when model, objective and corpus do not fit (no labels for cross_entropy, ...).
std::unique_ptr<Objective> make_objective(const ObjectiveConfig& objective, const ModelConfig& model,
                                          const CorpusFacts& facts, const BuildContext& context);

/// What `objective.exchange` and `objective.directions` say to the losses.
Exchange exchange_of(const std::string& exchange);
UniclDirections directions_of(const UniclConfig& config);

}  // namespace triptych

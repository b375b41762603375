// Makes the objective that a configuration names.
#pragma once
#include <memory>

#include "core/model/model_config.h"
#include "core/objective/build_context.h"
#include "core/objective/objective.h"
#include "core/objective/objective_config.h"

namespace triptych {

/// Throws ConfigError when model, objective and corpus do not fit (no labels for cross_entropy, ...).
std::unique_ptr<Objective> make_objective(const ObjectiveConfig& objective, const ModelConfig& model,
                                          const CorpusFacts& facts, const BuildContext& context);

}  // namespace triptych

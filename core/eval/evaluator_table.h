// Makes the evaluator that an `eval` entry names.
#pragma once
#include <memory>

#include "core/eval/eval_config.h"
#include "core/eval/evaluator.h"
#include "data/data_config.h"

namespace triptych {

/// Opens the entry's corpora; pictures are decoded and index files written as `data` says. Throws ConfigError when they
/// are of the wrong kind, or `image_size` is more than what pictures are resized to.
std::unique_ptr<Evaluator> make_evaluator(const EvalConfig& config, const DataConfig& data, std::int64_t image_size);
/// "zero_shot", or the entry's label; and its `every`.
std::string evaluator_name(const EvalConfig& config);
Duration evaluator_every(const EvalConfig& config);
/// Throws ConfigError naming evaluator and objective when the objective cannot serve a need.
void check_served(const Evaluator& evaluator, const Encoders& encoders, const std::string& objective);

}  // namespace triptych

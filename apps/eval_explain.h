// `triptych eval explain`: one picture and its caption as the objective's games, on a page for people.
#pragma once
#include "apps/command_line.h"
#include "core/base/errors.h"
#include "core/train/train_config.h"

namespace triptych {

/// Throws ConfigError where options of `explain` contradict each other, or stand beside another WHAT.
void check_explain_options(const EvalArguments& arguments);

/// measured: the configuration whose corpora --corpus-entry names. Writes the page, prints its numbers. Throws
/// ConfigError, also when the objective shows no games, DataError, CheckpointError, StorageError.
ExitCode eval_explain(const EvalArguments& arguments, const TrainConfig& measured);

}  // namespace triptych

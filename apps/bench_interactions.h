// How well Shapley interactions of a trained model are sampled and guessed, on held-out pictures (LOUPE, Li et al.,
// NeurIPS 2022, arXiv:2208.02515: its instability, section 4.4, and its network, section 3.5).
#pragma once
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "core/train/train_config.h"
#include "distributed/launch.h"

namespace triptych {

/// Parts, on pictures spread over the first corpus with captions of `measured`:
///   samplers     image forwards a region and instability (losses/shapley.h) of repeated estimates at some numbers of
///                coalitions, naive being equation 7 itself; then the forwards at which estimates would differ by .06
///                of the mean |reference|, were errors to fall as the root of their number, and the share of what the
///                naive sampler needs, each with its standard error by leaving out a picture at a time
///   network      mean |guess - reference| / mean |reference| and their correlation, beside the errors of one constant
///                and of the reference itself; the mean uncertainty beside how often the gate of training asks the
///                sampler, and how often it is asked under the bound on a micro-batch of that run
///   phrase_game  bench_phrase_game.h: of these pictures, and of drawn games of 10 regions and 6 phrases
/// Ends about when arguments.seconds (0: 25) have passed: then the samplers see fewer pictures, one at least, fewer
/// repeats, 3 at least of 20, and the reference has fewer coalitions, 20 at least; the result says how many. Throws
/// ConfigError, CheckpointError; DataBudgetError when no picture can be used.
nlohmann::ordered_json bench_interactions(const TrainConfig& measured, const BenchArguments& arguments, Launch& launch);

}  // namespace triptych

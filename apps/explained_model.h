// A checkpoint whose objective shows its pairs as games, and how these are sampled with care.
#pragma once
#include <filesystem>
#include <string>

#include "apps/checkpoint_model.h"
#include "core/objective/pair_games.h"

namespace triptych {

struct ExplainedModel {
  ChosenCheckpoint checkpoint;
  TrainConfig trained;    ///< the configuration that the checkpoint was made with
  CheckpointModel model;  ///< with all of the objective's state: a network's answers are in its labels' units
  Encoders encoders;
};

/// Throws ConfigError when the objective has no Encoders::explain (`who`: the command), CheckpointError.
ExplainedModel load_explained_model(const std::filesystem::path& path, at::Device device, Weights weights,
                                    const std::string& who);

/// Captions of at most so many word pieces have all coalitions of their words encoded: 1,024.
inline constexpr std::int64_t kMostExactWords = 10;

/// Antithetic, the expectation over words exact up to kMostExactWords, by 16 coalitions of words at each of cells for
/// longer captions; members as in training.
RegionSampling careful_sampling(const PairGames& games, std::int64_t coalitions);

/// I of all pairs of a region and a phrase, exactly: fp64 [M, P]. Throws ConfigError where they are too many to be
/// enumerated.
at::Tensor exact_interactions(const PairGames& games);

}  // namespace triptych

// What the game of regions and phrases costs and how stable it is, on one core: exactly, and by the paper's sampler
// with 500 coalitions (LOUPE, Li et al., NeurIPS 2022, arXiv:2208.02515, equation 10).
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>

#include "core/objective/pair_games.h"

namespace triptych {

/// A picture with its caption; `record` keys the draws.
struct PlayedPair {
  std::int64_t record = 0;
  const PairGames* games = nullptr;
};

/// Of the pairs whose captions have two phrases: milliseconds of a pair, instability and error of the sampler.
nlohmann::ordered_json bench_phrase_games(std::uint64_t seed, std::span<const PlayedPair> pairs);

/// The same of 16 games of 10 regions and 6 phrases by the rules of `game`, similarities those of drawn unit rows of 16
/// numbers: microseconds of a pair, solved together as in a step of training.
nlohmann::ordered_json bench_phrase_game_10_6(std::uint64_t seed, const SemanticGame& game);

}  // namespace triptych

// The game of tokens on LOUPE's own towers: how much more cells are worth together than apart (Li et al., NeurIPS 2022,
// arXiv:2208.02515, equations 3 to 7). losses/token_game.h has the sampler; here are its players.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include "core/model/loupe_model.h"
#include "core/objective/loupe_config.h"
#include "losses/token_game.h"

namespace triptych {

/// One picture and its caption.
struct PictureGame {
  at::Tensor embedded_1ld;  ///< image tokens before the blocks
  at::Tensor tokens_1l;     ///< int64, without padding at the end
  at::Tensor region_rk;     ///< bool: cells of each region
};

/// bool, of the tokens' shape: neither padding nor the words that start and end a text.
at::Tensor is_word(const at::Tensor& tokens, std::int64_t start_word, std::int64_t end_word);

struct SampledInteractions {
  at::Tensor each_rK;               ///< one estimate a region and coalition, fp32; their mean over K estimates
  at::Tensor spread_r;              ///< of each region (half_spread in losses/token_game.h), fp32
  std::int64_t image_forwards = 0;  ///< pictures with absent cells that were encoded
};

/// v(S) = cosine of the picture with the cells of S and the caption with the words of S; an absent token is its
/// embedding after position and norm times 0. Class tokens, [SEP] and padding are no players. The model must be in
/// evaluation mode; without graph. draws: of coalitions, on the CPU; member_draws: of the game's r-th region.
SampledInteractions sample_interactions(const LoupeModel& model, const LoupeConfig& config, const PictureGame& game,
                                        const at::Generator& draws, const RegionDraws& member_draws,
                                        const ForwardScope& scope);

}  // namespace triptych

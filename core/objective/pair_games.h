// One picture and its caption as LOUPE's two games (Li et al., NeurIPS 2022, arXiv:2208.02515, sections 3.2 to 3.5):
// what an objective tells of them to people who look, and to whoever judges samplers and networks.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "losses/semantic_game.h"
#include "losses/token_game.h"

namespace triptych {

struct PictureAndCaption {
  at::Tensor images;   ///< uint8 [1, height, width, 3]
  at::Tensor tokens;   ///< int64 [1, context]
  at::Tensor phrases;  ///< as Batch::phrases, of row 0 and text 0
};

/// How the interactions of regions are sampled (losses/token_game.h).
struct RegionSampling {
  std::string sampler = "antithetic";  ///< naive, stratified or antithetic
  std::int64_t coalitions = 64;        ///< even for antithetic
  std::int64_t members = 0;            ///< cells of a region valued alone at each coalition; 0: all
  std::int64_t text_samples = 0;       ///< coalitions of words drawn at each of cells; 0: all 2^words, exactly
  std::int64_t regions = 0;            ///< the first so many are sampled; 0: all
};

/// M regions, the most confident first; P phrases, as many as the objective lets play; k cells, row by row. On the CPU,
/// without graph.
struct PairGames {
  std::int64_t side = 0;      ///< cells of a row and of a column: k = side^2
  std::int64_t words = 0;     ///< word pieces of the caption: the players beside the cells
  at::Tensor box_M4;          ///< left, top, right, bottom as shares of the picture's sides, in [0, 1]
  at::Tensor confidence_M;    ///< in (0, 1)
  at::Tensor inside_Mk;       ///< bool: cells of each region
  at::Tensor cosine;          ///< of picture and caption as wholes, a scalar
  at::Tensor cosine_MP;       ///< of each region and phrase
  at::Tensor cell_cosine_Tk;  ///< of each cell with T = 1 + P texts: the caption, then the phrases
  at::Tensor guess_M;         ///< interactions of the regions by the network; undefined without one
  at::Tensor sigma_M;         ///< the network's uncertainty, in (0, 1); undefined likewise
  SemanticGame phrase_game;   ///< what the objective plays on cosine_MP
  RegionSampling sampling;    ///< as the objective samples in training
  /// Interactions of the first regions (equation 7). draws: of the CPU. Valid as long as the objective.
  std::function<RegionSamples(const RegionSampling& how, const at::Generator& draws)> sample;
};

}  // namespace triptych

// Mixup (Zhang et al., arXiv:1710.09412) and cutmix (Yun et al., arXiv:1905.04899) of the rows of a micro-batch.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/random_key.h"
#include "data/image/augment_config.h"
#include "data/image/resize.h"

namespace triptych {

/// How a micro-batch is mixed. Every row keeps `weight` of itself and takes the rest from partner[row]: as a weighted
/// sum (box.width = 0) or inside of `box`. weight 1: nothing is mixed.
struct MixPlan {
  double weight = 1;
  Box box;
  std::vector<std::int64_t> partner;  ///< [rows]; one cycle through all rows, so nobody is their own partner
};

/// timm's rule for a whole batch: one weight ~ Beta(alpha, alpha); a cut box has the share 1 - weight of the view
/// around a uniform centre, is clipped at the border, and the weight is corrected to what is left. `draws` belongs to
/// the micro-batch: keyed by seed and its first position. rows >= 2.
MixPlan draw_mix(const MixConfig& config, std::int64_t rows, Size view, RandomStream& draws);

/// Mixes images [rows][views][view.height][view.width][3] in place; sums round to nearest.
void mix_rows(const MixPlan& plan, Size view, std::span<std::uint8_t> images);

/// A draw from Beta(alpha, alpha), alpha > 0.
double draw_beta(double alpha, RandomStream& draws);

}  // namespace triptych

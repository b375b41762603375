// Boxes without a region head: where a map of similarities lights up. After class activation maps (Zhou et al. 2016,
// arXiv:1512.04150, section 3.2), with the component that holds the maximum instead of the largest one.
#pragma once
#include <span>

#include "data/image/box.h"

namespace triptych {

/// The box, in shares of the picture's sides, around the cells that belong to the best one: those that a path of side
/// neighbours joins to it, each of them with (value - min) / (max - min) >= threshold. A map of one value has no best
/// cell: the whole picture. Of equal cells the first is the best. `map_k`: finite values of a square grid, row by row.
/// Throws std::invalid_argument when they are no square or not finite.
RealBox activation_box(std::span<const double> map_k, double threshold);

}  // namespace triptych

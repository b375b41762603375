// Random erasing (Zhong et al., arXiv:1708.04896) by timm's rule.
#pragma once
#include <optional>

#include "core/base/random_key.h"
#include "data/image/augment_config.h"
#include "data/image/pixels.h"
#include "data/image/resize.h"

namespace triptych {

/// The box to erase: area uniform in config.area of the view, height / width log-uniform in config.ratio, smaller than
/// the view in both directions; nothing with probability 1 - config.probability or when ten boxes do not fit.
std::optional<Box> draw_erasing(const ErasingConfig& config, Size view, RandomStream& draws);

/// Fills the box. `noise`: what normalises to a standard normal draw for each value, rounded and clipped to bytes (with
/// ImageNet's statistics that cuts at about 2 deviations); `mean`: what normalises to 0.
void erase(Pixels pixels, Box box, const std::string& fill, const PixelStatistics& statistics, RandomStream& draws);

}  // namespace triptych

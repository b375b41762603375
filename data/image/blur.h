// Gaussian blur as Pillow's ImageFilter.GaussianBlur makes it, with its bytes.
#pragma once
#include "data/image/pixels.h"

namespace triptych {

/// Three passes of a box filter in each direction, whose width makes the variance radius^2 (Gwosdek et al.,
/// "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering", 2011). Pixels beyond the border repeat
/// it. radius >= 0 is the deviation in pixels.
void gaussian_blur(Pixels pixels, float radius);

}  // namespace triptych

// The orientation tag of EXIF: reading it, and turning a picture upright by it. Internal to data/image.
#pragma once
#include <string_view>

#include "data/image/decode.h"

namespace triptych {

/// Tag 0x0112 of the first directory of a TIFF block (EXIF 2.3, 4.6.4): 1 .. 8, or 1 when missing or unreadable: a
/// broken tag is no reason to lose a picture.
int exif_orientation(std::string_view tiff);

/// The picture as it is meant to be seen. 1 gives it back, 2 to 8 mirror and turn.
Image upright(Image image, int orientation);

}  // namespace triptych

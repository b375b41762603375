// RGB to encoded bytes: JPEG for packed corpora and small pictures in reports, PNG for looking at what was decoded.
#pragma once
#include <vector>

#include "data/image/decode.h"

namespace triptych {

/// Baseline JPEG by libjpeg-turbo: 4:2:0, the standard Huffman tables, the accurate integer transform, so that every
/// machine gives the same bytes. `quality` is libjpeg's, 1 .. 100. Throws std::invalid_argument (quality), DataError.
std::vector<unsigned char> encode_jpeg(const Image& image, int quality);

/// 8-bit RGB PNG by libspng, every pixel kept. Throws DataError.
std::vector<unsigned char> encode_png(const Image& image);

}  // namespace triptych

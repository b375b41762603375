// From the loader's pictures to what an image encoder takes; runs on the encoder's device.
#pragma once
#include <ATen/core/Tensor.h>

#include "core/types/batch.h"

namespace triptych {

/// uint8 [n, h, w, 3] in RGB -> `dtype` [n, 3, h, w], (x / 255 - mean) / std with the corpus' pixel statistics.
/// Floating-point pictures are taken as normalised already and only change their layout.
at::Tensor normalise_images(const at::Tensor& images, const CorpusFacts& facts, at::ScalarType dtype);

}  // namespace triptych

// Shapes of results without results, for operators whose meta kernels LibTorch has in Python only.
#pragma once

namespace triptych {

/// From the first call on, the operators of the towers and their gradients run on meta tensors (tensors without
/// memory): norms, convolution, look-ups, draws, fused attention. Changes nothing for other devices. Any thread.
void register_meta_kernels();

}  // namespace triptych

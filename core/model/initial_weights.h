// `init_from`: starting a model, or one tower of it, from a safetensors file with OpenCLIP's names or those of
// foreign_names.h.
#pragma once
#include "core/model/model_config.h"
#include "core/module/module.h"

namespace triptych {

/// Copies weights into `model` as the section says; dtypes are converted.
///   whole: the file's tensors are exactly the model's parameters and buffers.
///   image: the file's "visual.*" tensors are exactly the model's.
///   text:  the file's tensors outside "visual.*", without "logit_*" and "head.*", are exactly the model's.
/// An image file's projection may lie unused, and a foreign backbone may lack one (ours stays as it was drawn).
/// Position tables of another grid are resampled if `positions` says so. Throws ConfigError, with a table of what is
/// missing, unexpected or of another shape, before anything is changed; also if the file cannot be read.
void load_initial_weights(Module& model, const InitConfig& config);

}  // namespace triptych

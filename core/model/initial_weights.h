// `init_from`: starting a model, or one tower of it, from a safetensors file with OpenCLIP's names.
#pragma once
#include "core/model/model_config.h"
#include "core/module/module.h"

namespace triptych {

/// Copies weights into `model` as the section says; dtypes are converted.
///   whole: the file's tensors are exactly the model's parameters and buffers.
///   image: the file's "visual.*" tensors are exactly the model's.
///   text:  the file's tensors outside "visual.*", without "logit_*" and "head.*", are exactly the model's.
/// "visual.proj" may lie unused in an image file if the model has no projection. Throws ConfigError, with a table of
/// what is missing, unexpected or of another shape, before anything is changed; also if the file cannot be read.
void load_initial_weights(Module& model, const InitConfig& config);

}  // namespace triptych

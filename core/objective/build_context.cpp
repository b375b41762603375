// What every objective does with its fresh model.
#include "core/objective/build_context.h"

#include "core/model/initial_weights.h"

namespace triptych {

void BuildContext::start(Module& model, const ModelConfig& config) const {
  if (initial_weights && !device.is_meta()) load_initial_weights(model, config.init_from);
  model.to(device, parameters);
}

}  // namespace triptych

// AutocastScope: torch's thread-local autocast state, set and restored.
#include "core/module/autocast.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

namespace triptych {

AutocastScope::AutocastScope(at::Device device, at::ScalarType parameters, at::ScalarType compute)
    : device_(device.type()), active_(parameters != compute) {
  if (!active_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  was_dtype_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_dtype(device_, compute);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (!active_) return;
  // The outermost scope drops the cached casts of parameters: the next step has other values.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, was_dtype_);
}

}  // namespace triptych

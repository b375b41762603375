// AutocastScope: torch's thread-local autocast state, set and restored.
#include "core/module/autocast.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include "core/module/meta_autocast.h"

namespace triptych {

AutocastScope::AutocastScope(at::Device device, at::ScalarType parameters, at::ScalarType compute)
    : device_(device.type()), active_(parameters != compute) {
  if (!active_) return;
  before_ = autocast_type(device_);
  set(compute);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (!active_) return;
  // The outermost scope drops the cached casts of parameters: the next step has other values.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  set(before_);
}

void AutocastScope::set(std::optional<at::ScalarType> products) const {
  if (device_ == at::kMeta) {
    meta_autocast::set(products);
    return;
  }
  at::autocast::set_autocast_enabled(device_, products.has_value());
  if (products) at::autocast::set_autocast_dtype(device_, *products);
}

std::optional<at::ScalarType> autocast_type(at::DeviceType device) {
  if (device == at::kMeta) return meta_autocast::type();
  return at::autocast::is_autocast_enabled(device) ? std::optional(at::autocast::get_autocast_dtype(device))
                                                   : std::nullopt;
}

}  // namespace triptych

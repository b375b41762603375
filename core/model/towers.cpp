// Towers without a grid of cells.
#include "core/model/towers.h"

#include <ATen/ATen.h>

namespace triptych {

at::Tensor ImageTower::embedded(const at::Tensor&, const ForwardScope&) const {
  TORCH_CHECK(false, "this image tower has no grid of cells");
}

at::Tensor ImageTower::with_cells(const at::Tensor&, const at::Tensor&) const {
  TORCH_CHECK(false, "this image tower has no grid of cells");
}

ImageStates ImageTower::encoded(const at::Tensor&, const ForwardScope&) const {
  TORCH_CHECK(false, "this image tower has no grid of cells");
}

}  // namespace triptych

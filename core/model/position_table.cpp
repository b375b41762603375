// A table as a picture of `width` channels.
#include "core/model/position_table.h"

#include <ATen/ATen.h>

#include <cmath>

namespace triptych {

at::Tensor resampled_positions(const at::Tensor& table, std::int64_t prefix, std::int64_t grid, TableResampling how) {
  const std::int64_t cells = table.size(0) - prefix, width = table.size(1);
  const auto old = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(cells))));
  TORCH_CHECK(old * old == cells, "a position table of ", cells, " cells is not square");
  const at::Tensor picture =
      table.narrow(0, prefix, cells).to(at::kFloat).view({1, old, old, width}).permute({0, 3, 1, 2});
  const at::Tensor scaled = how == TableResampling::kAntialias
                                ? at::_upsample_bicubic2d_aa(picture, {grid, grid}, /*align_corners=*/false)
                                : at::upsample_bicubic2d(picture, {grid, grid}, /*align_corners=*/false);
  const at::Tensor rows = scaled.permute({0, 2, 3, 1}).reshape({grid * grid, width});
  return at::cat({table.narrow(0, 0, prefix).to(at::kFloat), rows});
}

std::int64_t table_prefix(const std::string& name) {
  if (name.ends_with("relative_position_bias_table")) return 0;
  const bool of_pictures = name == "visual.positional_embedding" || name == "visual.attnpool.positional_embedding";
  return of_pictures ? 1 : -1;
}

}  // namespace triptych

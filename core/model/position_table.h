// Learnt position tables of another grid.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace triptych {

/// Bicubic resampling of a square table, row by row: with antialias (a = -0.5) as OpenCLIP and timm, without (a =
/// -0.75, align_corners false) as TCL.
enum class TableResampling { kAntialias, kPlain };

/// table [prefix + g * g, width] -> [prefix + grid * grid, width] in fp32; the first `prefix` rows (class token) stay.
at::Tensor resampled_positions(const at::Tensor& table, std::int64_t prefix, std::int64_t grid, TableResampling how);

/// Of a parameter with a table of positions: how many rows come before the grid's; -1: no such table.
std::int64_t table_prefix(const std::string& name);

}  // namespace triptych

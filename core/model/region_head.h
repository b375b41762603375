// Regions of pictures without boxes to learn from: LOUPE's region generation (Li et al., NeurIPS 2022,
// arXiv:2208.02515, section 3.2, after YOLOv3). A box centred on each cell of the last grid, and what belongs to it.
// Lengths are shares of the picture's sides; cells are row by row.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/module/layers.h"

namespace triptych {

/// k boxes of each of n pictures: one for every cell, or those that were chosen. fp32, or fp64 for fp64 states.
struct RegionBoxes {
  at::Tensor box_nk4;              ///< left, top, right, bottom, cut at the picture's edges
  at::Tensor size_nk2;             ///< width and height in (least, 1), before the cut
  at::Tensor confidence_logit_nk;  ///< s = sigmoid(logit) of equation 8
};

/// linear - GELU - linear on each cell: width, height and confidence. Starts with boxes of about a third of the sides
/// and confidences of about a half. Names: hidden.{weight,bias}, output.{weight,bias}.
class RegionHead : public Module {
 public:
  /// width: channels of a state; hidden: of the layer between; side: cells of a row and of a column; least: of a box's
  /// sides, in [0, 1). A box of one cell is worth nothing in the game of cells, and no label would make it grow.
  RegionHead(std::int64_t width, std::int64_t hidden, std::int64_t side, const Initializer& init, double least = 0);
  /// States [n, side * side, width] -> a box for each. Throws c10::Error for other shapes.
  RegionBoxes forward(const at::Tensor& cell_nkd) const;

 private:
  std::int64_t width_, side_;
  double least_;
  Linear hidden_;
  at::Tensor output_weight_, output_bias_;  ///< [3, hidden], [3]: width, height, confidence
};

struct Regions {
  at::Tensor cell_nm;  ///< int64, the cell on which a box is centred, most confident first
  RegionBoxes boxes;   ///< k = m, with gradient
};

/// The `count` most confident boxes of each picture; of equals the one of the lower cell is first. Whoever sets `count`
/// refuses more than there are cells; here that throws c10::Error.
Regions top_regions(const RegionBoxes& boxes, std::int64_t count);

/// x and y of the cells' centres, [side * side, 2].
at::Tensor cell_centres(std::int64_t side, const at::TensorOptions& options);

/// Sharpness at which an edge is one cell wide: m rises from .12 to .88.
double region_sharpness(std::int64_t side);

/// How much each cell belongs to a region of width w and height h, dx and dy from its centre:
///   m = sigmoid( sharpness (w / 2 - |dx|) ) sigmoid( sharpness (h / 2 - |dy|) )
/// size_nm2: RegionBoxes::size_nk2; cell_nm int64; sharpness in 1 / share. -> [n, m, side * side], with gradient to w
/// and h. The region's own cell has at least 1/4, so that a sum over cells is never 0.
at::Tensor soft_membership(const at::Tensor& size_nm2, const at::Tensor& cell_nm, std::int64_t side, double sharpness);

/// Membership in or out, for games whose players are cells: m > 1/2, and always the region's own cell, so that no
/// region is empty. soft_nmk: as above -> bool of its shape, without gradient.
at::Tensor hard_membership(const at::Tensor& soft_nmk, const at::Tensor& cell_nm);

/// Features of regions, h = sum_k m_k x_k / sum_k m_k. member_nmk [n, m, cells]: soft, which gives gradient to the
/// boxes too, or bool, the mean of equation 8's R_i without; cell_nkd [n, cells, d] -> [n, m, d].
at::Tensor pooled_regions(const at::Tensor& member_nmk, const at::Tensor& cell_nkd);

}  // namespace triptych

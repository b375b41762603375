// Where in a picture a text may point: the regions of a region head, or the cells of a grid.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <vector>

#include "core/objective/objective.h"
#include "data/image/box.h"

namespace triptych {

struct BoxCandidates {
  at::Tensor embedding_nMd;                 ///< unit rows, at least float
  std::vector<std::vector<RealBox>> boxes;  ///< of regions: M a picture, in shares of its sides; of cells: none
};

/// `proposals`: "regions" or "activation", whose candidates are cells. images uint8 [n, h, w, 3].
BoxCandidates box_candidates(const std::string& proposals, const Encoders& encoders, const at::Tensor& images);

/// Cosines of T texts and M candidates of a picture: double [T, M] on the CPU, contiguous.
at::Tensor candidate_cosines(const at::Tensor& text_Td, const at::Tensor& embedding_Md);

}  // namespace triptych

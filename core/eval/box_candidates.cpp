// Region head or patch embeddings.
#include "core/eval/box_candidates.h"

#include <ATen/ATen.h>

#include "core/eval/held_out.h"

namespace triptych {

BoxCandidates box_candidates(const std::string& proposals, const Encoders& encoders, const at::Tensor& images) {
  if (proposals == "activation") return {as_float(encoders.patches(images)), {}};
  const auto regions = encoders.regions(images);
  const auto corner_nM4 = regions.box_nM4.to(at::kCPU, at::kDouble).contiguous();
  BoxCandidates candidates{as_float(regions.embedding_nMd), {}};
  const double* corner = corner_nM4.const_data_ptr<double>();
  for (std::int64_t picture = 0; picture < corner_nM4.size(0); ++picture) {
    auto& boxes = candidates.boxes.emplace_back();
    for (std::int64_t region = 0; region < corner_nM4.size(1); ++region, corner += 4)
      boxes.emplace_back(corner[0], corner[1], corner[2] - corner[0], corner[3] - corner[1]);
  }
  return candidates;
}

at::Tensor candidate_cosines(const at::Tensor& text_Td, const at::Tensor& embedding_Md) {
  return text_Td.mm(embedding_Md.t()).to(at::kCPU, at::kDouble).contiguous();
}

}  // namespace triptych

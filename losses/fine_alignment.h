// Shapley interactions as targets (LOUPE, Li et al., NeurIPS 2022, arXiv:2208.02515, section 3.3): confidences of
// regions (L_TSA, equation 8) and similarities of regions and phrases (L_FSA, equation 11). How interactions are
// "normalised" the paper does not say.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "losses/counted_loss.h"

namespace triptych {

/// Interactions x of one picture to targets in [0, 1].
enum class LabelForm {
  kMinMax,          ///< (x - min) / (max - min); 1/2 where all are the same
  kPositiveMinMax,  ///< the same of max(x, 0); 0 where all are the same
  kSigmoid,         ///< 1 / (1 + e^-x)
  kSoftmax,         ///< e^x / sum e^x
};

/// Of each picture's regions: [n, m] -> [n, m] without graph.
at::Tensor normalised_regions(const at::Tensor& value_nm, LabelForm form);

/// Of each picture's pairs of all regions and its first count_n phrases: [n, m, p] -> [n, m, p] without graph, 0 at the
/// other phrases, whatever stands there. count_n int64 [n] in [0, p].
at::Tensor normalised_pairs(const at::Tensor& value_nmp, const at::Tensor& count_n, LabelForm form);

/// L_TSA. With s = sigmoid(logit), over all regions of the valid pictures:
///   sum = - sum [ I' log s + (1 - I') log(1 - s) ],   count = m x valid pictures
/// logit_nm [n, m] with gradient; label_nm [n, m] in [0, 1], a constant; valid_n bool [n], undefined for all: what
/// stands in other pictures does not matter. Waits for the device.
CountedLoss token_alignment_loss(const at::Tensor& logit_nm, const at::Tensor& label_nm, const at::Tensor& valid_n);

/// Over what the softmax of equation 11 is taken.
enum class SoftmaxOver {
  kPhrases,  ///< each region's phrases
  kBoth,     ///< the mean of that and of each phrase's regions: the paper's "similarly"
};

/// L_FSA. With N_i phrases of picture i and a~ the softmax of its similarities:
///   sum = - sum_i 1 / (m N_i) sum_{regions, phrases} I' log a~,   count = pictures with phrases
/// alike_nmp [n, m, p] with gradient, already divided by a temperature; label_nmp of its shape, in [0, 1], a constant;
/// count_n as above. Waits for the device.
CountedLoss semantic_alignment_loss(const at::Tensor& alike_nmp, const at::Tensor& label_nmp, const at::Tensor& count_n,
                                    SoftmaxOver over);

}  // namespace triptych

// Masked words: which are hidden (BERT, Devlin et al., NAACL 2019, arXiv:1810.04805, section 3.1), and the loss of
// telling them, also from a momentum teacher (ALBEF, Li et al., NeurIPS 2021, arXiv:2107.07651, section 3.3; TCL,
// Yang et al., CVPR 2022, arXiv:2202.10401).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

/// Numbers of BERT's uncased vocabulary.
struct WordIds {
  std::int64_t pad = 0, start = 101, end = 102, mask = 103, vocabulary = 30522;
};

/// Uniform in [0, 1), each [b, l] and floating point.
struct MaskDraws {
  at::Tensor chosen, replace, random, word;
};

struct MaskedWords {
  at::Tensor tokens_bl;  ///< int64, as the network gets them
  at::Tensor chosen_bl;  ///< bool: to be told
};

/// Chosen are the tokens with draws.chosen < probability, but for pad, start and end. Of these, those with
/// draws.replace < 0.8 become the mask, of the others those with draws.random < 0.5 the word
/// floor(draws.word * vocabulary), any of the vocabulary; the rest stay as they are. tokens_bl: int64 [b, l], kept.
MaskedWords mask_words(const at::Tensor& tokens_bl, const MaskDraws& draws, double probability, const WordIds& ids);

/// The SUM over n chosen words, which the caller divides (global_mean.h). With p the student's and q the teacher's
/// softmax over the vocabulary:
///   sum_i ( -(1 - alpha) log p_i[target_i] - alpha sum_v q_iv log p_iv )
/// (ALBEF writes the second part as a KL divergence: less by a constant.) The gradient
/// p - (1 - alpha) onehot(target) - alpha q is computed along in blocks of rows: memory O(256 v) beside the logits and
/// one gradient like the student's. None chosen: 0 with zero gradient.
///   student_nv [n, v] with gradient; target_n int64 [n]; teacher_nv [n, v] without; undefined: alpha must be 0. Sums
///   in fp32, for fp64 logits of the student in fp64; the loss has that type, too.
at::Tensor masked_word_loss(const at::Tensor& student_nv, const at::Tensor& target_n, const at::Tensor& teacher_nv,
                            double alpha);

}  // namespace triptych

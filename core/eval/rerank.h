// The second stage of retrieval: a fusion encoder scores each query's nearest candidates again (ALBEF,
// arXiv:2107.07651, section 4; TCL, arXiv:2202.10401, does the same).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/eval/held_out.h"

namespace triptych {

/// One row a query of each way, k columns or the gallery's size if that is less. On the CPU, the same on every rank.
struct BothWays {
  at::Tensor image_Nk;  ///< of each picture, over its captions
  at::Tensor text_Tk;   ///< of each caption, over its pictures
};

/// int64 [n, min(k, C)]: the columns of each row's k best scores, in ascending order of columns. Among equal scores the
/// lower column is taken first; what is not a number is taken before every number, as place_of_own counts it.
at::Tensor nearest(const at::Tensor& scores_nC, std::int64_t k);

/// Match logits (double) of the candidates `near`. record_N: each picture's record, ascending; token_Tl: each caption's
/// tokens; both on the CPU. Collective.
///
/// Cost: the walk is over pictures, since their states are dear: each is read, decoded and forwarded once more, by one
/// rank, and meets the captions of both ways there; a pair that both ways want is scored once. At most k (N + T) pairs;
/// a caption is forwarded again for each block of pictures in which it has a partner. States are held of scope.batch
/// pictures and, in pieces of scope.batch pairs, of the pieces' pictures and captions: never of more. Candidates and
/// logits are k (N + T) numbers on every rank (COCO 5K, k = 256: 61 MB each). Blocks are those of HeldOut and go to
/// ranks by their number of pairs, so that pictures near to every caption do not keep one rank busy alone.
///
/// Throws DataError when a block does not give the pictures that record_N names.
BothWays match_logits(const HeldOut& held_out, const PairMatcher& matcher, const at::Tensor& record_N,
                      const at::Tensor& token_Tl, const BothWays& near, EvalScope& scope);

/// [n] int64: where each query's best own candidate stands when the k candidates are ordered by logits_nk, equal ones
/// by lower column, and all others follow in the order of the first stage. first_place_n: place in the first stage
/// among `candidates`; own_nk: which of the k are right. A logit that is not a number stands before every number if its
/// candidate is wrong, and behind all candidates if it is right; a query lost in the first stage because of such scores
/// stays lost.
at::Tensor reranked_place(const at::Tensor& first_place_n, const at::Tensor& logits_nk, const at::Tensor& own_nk,
                          std::int64_t candidates);

}  // namespace triptych

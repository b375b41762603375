// Walks the pictures once and scores every pair that either way wants.
#include "core/eval/rerank.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "core/eval/top_counts.h"

namespace triptych {
namespace {

/// Pictures [first, last) of the gallery: those of one block of records.
struct Pictures {
  std::int64_t block = 0, first = 0, last = 0;
};

/// Pairs of a block's pictures with captions, each once, those of a caption beside each other.
struct Pairs {
  at::Tensor text_p, row_p;       ///< int64 [pairs]: caption, and picture counted from the block's first
  at::Tensor of_image_nk;         ///< which pair each candidate of the block's pictures is
  at::Tensor text_place_m, of_m;  ///< places in text_Tk (flattened) that name one of the pictures; their pairs
};

/// This rank's blocks: cut where the pairs before them are the rank's share of all pairs.
std::vector<Pictures> own_blocks(const at::Tensor& record_N, const BothWays& near, const EvalScope& scope) {
  const auto block_N = record_N.div(scope.batch, "floor");
  const auto pictures_B = at::bincount(block_N);
  const auto pairs_B = pictures_B * near.image_Nk.size(1) +
                       at::bincount(block_N.index_select(0, near.text_Tk.flatten()), {}, pictures_B.numel());
  const auto* pairs = pairs_B.const_data_ptr<std::int64_t>();
  const auto* pictures = pictures_B.const_data_ptr<std::int64_t>();
  const auto total = pairs_B.sum().item<std::int64_t>();
  std::vector<Pictures> own;
  std::int64_t pairs_before = 0, first = 0;
  for (std::int64_t block = 0; block < pairs_B.numel(); ++block) {
    const auto owner = (pairs_before + pairs[block] / 2) * scope.comm.size() / total;
    if (pictures[block] > 0 && owner == scope.comm.rank()) own.push_back({block, first, first + pictures[block]});
    pairs_before += pairs[block];
    first += pictures[block];
  }
  return own;
}

Pairs pairs_of(const Pictures& pictures, const BothWays& near) {
  const std::int64_t n = pictures.last - pictures.first;
  const auto row_n1 = at::arange(n, at::kLong).unsqueeze(1);
  const auto from_images = near.image_Nk.slice(0, pictures.first, pictures.last).mul(n).add(row_n1);

  Pairs pairs;
  const auto picture_Tk = near.text_Tk.flatten();
  pairs.text_place_m = picture_Tk.ge(pictures.first).logical_and_(picture_Tk.lt(pictures.last)).nonzero().squeeze(1);
  const auto text_m = pairs.text_place_m.div(near.text_Tk.size(1), "floor");
  const auto from_texts = text_m * n + picture_Tk.index_select(0, pairs.text_place_m) - pictures.first;

  const auto [key_p, pair, counts] =
      at::_unique2(at::cat({from_images.flatten(), from_texts}), /*sorted=*/true, /*return_inverse=*/true);
  pairs.text_p = key_p.div(n, "floor");
  pairs.row_p = key_p.remainder(n);
  pairs.of_image_nk = pair.slice(0, 0, from_images.numel()).view_as(from_images);
  pairs.of_m = pair.slice(0, from_images.numel());
  return pairs;
}

EvalRows read_again(const HeldOut& held_out, const Pictures& pictures, const at::Tensor& record_N,
                    const EvalScope& scope) {
  auto rows = held_out.read_block(scope, pictures.block);
  if (!rows.records.equal(record_N.slice(0, pictures.first, pictures.last))) {
    const auto first = pictures.block * scope.batch;
    throw DataError("evaluation corpus '" + held_out.corpus().config().path + "': of records " + std::to_string(first) +
                    " to " + std::to_string(first + scope.batch - 1) + " " +
                    std::to_string(pictures.last - pictures.first) + " could be read at first, " +
                    std::to_string(rows.records.numel()) + " now; have the files changed?");
  }
  return rows;
}

/// double [pairs], on the CPU.
at::Tensor score_pairs(const PairMatcher& matcher, const at::Tensor& images, const at::Tensor& token_Tl,
                       const Pairs& pairs, const EvalScope& scope) {
  const auto image_states = matcher.image_states(images);
  std::vector<at::Tensor> logits;
  for (std::int64_t first = 0; first < pairs.text_p.numel(); first += scope.batch) {
    const auto row_p = pairs.row_p.slice(0, first, first + scope.batch).to(scope.device);
    const auto [text_u, place_p, counts] =
        at::unique_consecutive(pairs.text_p.slice(0, first, first + scope.batch), /*return_inverse=*/true);
    const auto tokens_ul = token_Tl.index_select(0, text_u).to(scope.device);
    const auto text_row_p = place_p.to(scope.device);
    const auto text_states = matcher.text_states(tokens_ul).index_select(0, text_row_p);
    logits.push_back(
        matcher.score(image_states.index_select(0, row_p), text_states, tokens_ul.index_select(0, text_row_p))
            .to(at::kDouble));
  }
  return at::cat(logits).cpu();
}

}  // namespace

at::Tensor nearest(const at::Tensor& scores_nC, std::int64_t k) {
  const auto known_nC = scores_nC.masked_fill(scores_nC.isnan(), INFINITY);
  const auto order_nC = std::get<1>(known_nC.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
  return std::get<0>(order_nC.slice(1, 0, k).sort(1));
}

BothWays match_logits(const HeldOut& held_out, const PairMatcher& matcher, const at::Tensor& record_N,
                      const at::Tensor& token_Tl, const BothWays& near, EvalScope& scope) {
  // Each logit is written by one rank, so that the sum over ranks changes no bit of it.
  BothWays logits = {at::zeros(near.image_Nk.sizes(), at::kDouble), at::zeros(near.text_Tk.sizes(), at::kDouble)};
  for (const auto& pictures : own_blocks(record_N, near, scope)) {
    const auto rows = read_again(held_out, pictures, record_N, scope);
    const auto pairs = pairs_of(pictures, near);
    const auto logit_p = score_pairs(matcher, rows.images, token_Tl, pairs, scope);
    logits.image_Nk.slice(0, pictures.first, pictures.last).copy_(logit_p.take(pairs.of_image_nk));
    logits.text_Tk.view(-1).index_copy_(0, pairs.text_place_m, logit_p.take(pairs.of_m));
  }
  scope.comm.all_reduce_sum(logits.image_Nk);
  scope.comm.all_reduce_sum(logits.text_Tk);
  return logits;
}

at::Tensor reranked_place(const at::Tensor& first_place_n, const at::Tensor& logits_nk, const at::Tensor& own_nk,
                          std::int64_t candidates) {
  const auto nan_nk = logits_nk.isnan();
  const auto scores_nk = logits_nk.masked_fill(nan_nk.logical_and(own_nk), -INFINITY)
                             .masked_fill_(nan_nk.logical_and(own_nk.logical_not()), INFINITY);
  const auto k = logits_nk.size(1);
  const auto place_n = place_of_best(scores_nk, own_nk);
  const auto found_n = own_nk.any(1).logical_and_(first_place_n.lt(candidates));
  return at::where(found_n, place_n.masked_fill(place_n.ge(k), candidates), first_place_n.clamp_min(k));
}

}  // namespace triptych

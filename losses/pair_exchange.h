// How a rank meets the rows of the others: gathered once, or in a ring.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "distributed/collectives.h"

namespace triptych {

/// kGather: every rank holds all ranks' rows from forward to backward, memory O(B d); one collective, none in the
/// backward. kRing: a block of one rank's rows at a time visits, O(b d) with b = B / ranks; it travels once in the
/// forward and once in the backward. Loss and gradients are the same to rounding: sums begin with another block on each
/// rank.
enum class Exchange { kGather, kRing };

/// Images and texts of one rank or of all.
struct PairBlock {
  at::Tensor image_nd, text_kd;      ///< without graph, dense
  std::int64_t image = 0, text = 0;  ///< where they begin among all ranks' images and texts
};

/// The rows of all ranks, block by block. Does not outlive `comm`.
class PairExchange {
 public:
  /// image_bd, text_kd: this rank's rows as gather_pair takes them, without graph. Collective.
  PairExchange(at::Tensor image_bd, at::Tensor text_kd, Exchange exchange, Collectives& comm);
  /// Calls `use` with blocks that are all ranks' rows together. Collective with kRing.
  void for_blocks(const std::function<void(const PairBlock&)>& use) const;

  const at::Tensor& own_image() const { return image_bd_; }
  const at::Tensor& own_text() const { return text_kd_; }

 private:
  at::Tensor image_bd_, text_kd_;
  PairBlock all_;  ///< kGather
  Exchange exchange_;
  Collectives* comm_;
};

}  // namespace triptych

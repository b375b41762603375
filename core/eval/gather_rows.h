// Joining what every rank measured into one tensor that does not depend on how many ranks there are.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "distributed/collectives.h"

namespace triptych {

/// Fixed blocks of `rows` records counted from record 0, dealt to ranks as contiguous ranges. A block is forwarded in
/// one piece by whoever owns it, so a row's bits do not depend on the number of ranks.
struct BlockRange {
  std::int64_t first = 0, last = 0;  ///< blocks [first, last) of this rank
};
BlockRange rank_blocks(std::int64_t records, std::int64_t rows, int rank, int size);

/// Collective. The rows of all ranks in rank order: rank 0's pieces, rank 1's, ... Ranks may hold different numbers of
/// rows, also none; pieces are [n] or [n, width] of one dtype. Short ranks are padded for the transport and the padding
/// is dropped. Returns an undefined tensor if no rank has a row. `device`: where ranks without rows put their padding.
at::Tensor gather_rows(const std::vector<at::Tensor>& pieces, at::Device device, Collectives& comm);

}  // namespace triptych

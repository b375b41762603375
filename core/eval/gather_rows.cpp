// A padded all-gather: lengths first, then rows.
#include "core/eval/gather_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace triptych {
namespace {

/// What a rank must know of the others to make equal blocks: rows, width (0: one-dimensional), dtype.
struct Outline {
  std::int64_t rows = 0, width = 0, dtype = -1;
};

std::vector<Outline> gather_outlines(const at::Tensor& local, Collectives& comm) {
  Outline mine;
  if (local.defined() && local.size(0) > 0) {
    mine = {local.size(0), local.dim() == 1 ? 0 : local.size(1), static_cast<std::int64_t>(local.scalar_type())};
  }
  auto packed = at::empty({1, 3}, at::kLong);
  packed[0][0] = mine.rows;
  packed[0][1] = mine.width;
  packed[0][2] = mine.dtype;
  const auto all = comm.all_gather(packed);
  std::vector<Outline> outlines;
  for (int rank = 0; rank < comm.size(); ++rank) {
    const auto* row = all.const_data_ptr<std::int64_t>() + 3 * rank;
    outlines.push_back({row[0], row[1], row[2]});
  }
  return outlines;
}

}  // namespace

BlockRange rank_blocks(std::int64_t records, std::int64_t rows, int rank, int size) {
  const std::int64_t blocks = (records + rows - 1) / rows;
  return {blocks * rank / size, blocks * (rank + 1) / size};
}

at::Tensor gather_rows(const std::vector<at::Tensor>& pieces, at::Device device, Collectives& comm) {
  at::Tensor local = pieces.empty() ? at::Tensor() : at::cat(pieces);
  const auto outlines = gather_outlines(local, comm);
  Outline widest;  // of the ranks that have rows, all alike but for their number
  for (const auto& outline : outlines) {
    if (outline.rows > widest.rows) widest = outline;
  }
  if (widest.rows == 0) return {};

  std::vector<std::int64_t> shape = {widest.rows};
  if (widest.width > 0) shape.push_back(widest.width);
  auto padded = at::zeros(shape, at::dtype(static_cast<at::ScalarType>(widest.dtype)).device(device));
  if (local.defined() && local.size(0) > 0) padded.narrow(0, 0, local.size(0)).copy_(local);
  const auto all = comm.all_gather(padded);

  std::vector<at::Tensor> kept;
  for (int rank = 0; rank < comm.size(); ++rank) {
    kept.push_back(all.narrow(0, rank * widest.rows, outlines[static_cast<std::size_t>(rank)].rows));
  }
  return at::cat(kept);
}

}  // namespace triptych

#include "distributed/collective_call.h"

#include <ATen/ATen.h>

#include <atomic>

#include "distributed/launcher/progress.h"

namespace triptych {
namespace {

void check_dense(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided && tensor.is_contiguous(),
              "a collective needs dense contiguous tensors; ", name, " is not");
}

/// `whole` holds `size` pieces.
void check_pieces(const at::Tensor& piece, const at::Tensor& whole, int size) {
  check_dense(piece, "the piece");
  check_dense(whole, "the whole");
  TORCH_CHECK(piece.scalar_type() == whole.scalar_type(), "dtypes differ: ", piece.scalar_type(), " and ",
              whole.scalar_type());
  TORCH_CHECK(whole.numel() == piece.numel() * size, "expected ", size, " x ", piece.numel(), " elements, got ",
              whole.numel());
}

c10d::ReduceOp::RedOpType checked_reduction(const c10d::ReduceOp& op) {
  const c10d::ReduceOp::RedOpType kind = op;
  TORCH_CHECK(kind == c10d::ReduceOp::SUM || kind == c10d::ReduceOp::MAX, "reductions are SUM and MAX only");
  return kind;
}

/// With a life as long as the program's, as the board wants it.
const char* name_of(c10d::OpType op) {
  switch (op) {
    case c10d::OpType::BROADCAST:
      return "broadcast";
    case c10d::OpType::ALLREDUCE:
      return "all-reduce";
    case c10d::OpType::ALLGATHER:
    case c10d::OpType::_ALLGATHER_BASE:
      return "all-gather";
    case c10d::OpType::REDUCE_SCATTER:
    case c10d::OpType::_REDUCE_SCATTER_BASE:
      return "reduce-scatter";
    case c10d::OpType::ALLTOALL_BASE:
      return "ring step";
    case c10d::OpType::BARRIER:
      return "barrier";
    default:
      return "collective";
  }
}

}  // namespace

void complete(c10d::Work& work) {
  static std::atomic<std::int64_t> number{0};  // who trains waits in the same order on every rank
  auto& board = ProgressBoard::of_process();
  board.enter_collective(name_of(work.retrieveOpType()), ++number);
  with_peer_errors([&] { work.wait(); });
  board.leave_collective();
}

RingSplits RingSplits::of(std::int64_t rows, int rank, int size) {
  RingSplits splits{std::vector<std::int64_t>(size), std::vector<std::int64_t>(size)};
  splits.to[(rank + 1) % size] = rows;
  splits.from[(rank + size - 1) % size] = rows;
  return splits;
}

std::string CollectiveCall::description() const {
  std::string text = c10d::opTypeToString(op);
  if (op == c10d::OpType::ALLREDUCE) text += reduce == c10d::ReduceOp::MAX ? " (max)" : " (sum)";
  if (op == c10d::OpType::BROADCAST) text += " from rank " + std::to_string(root);
  if (in.defined()) text += " of " + std::to_string(in.numel()) + " " + c10::toString(in.scalar_type());
  return text;
}

CallBackend::Work CallBackend::broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) {
  TORCH_CHECK(tensors.size() == 1, "broadcast: one tensor at a time");
  check_dense(tensors[0], "the tensor");
  TORCH_CHECK(options.rootRank >= 0 && options.rootRank < getSize(), "broadcast: no rank ", options.rootRank);
  return run(
      {.op = c10d::OpType::BROADCAST, .root = static_cast<int>(options.rootRank), .in = tensors[0], .out = tensors[0]});
}

CallBackend::Work CallBackend::allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) {
  TORCH_CHECK(tensors.size() == 1, "allreduce: one tensor at a time");
  check_dense(tensors[0], "the tensor");
  return run({.op = c10d::OpType::ALLREDUCE,
              .reduce = checked_reduction(options.reduceOp),
              .in = tensors[0],
              .out = tensors[0]});
}

CallBackend::Work CallBackend::_allgather_base(at::Tensor& out, at::Tensor& in, const c10d::AllgatherOptions&) {
  check_pieces(in, out, getSize());
  return run({.op = c10d::OpType::_ALLGATHER_BASE, .in = in, .out = out});
}

CallBackend::Work CallBackend::_reduce_scatter_base(at::Tensor& out, at::Tensor& in,
                                                    const c10d::ReduceScatterOptions& options) {
  check_pieces(out, in, getSize());
  TORCH_CHECK(checked_reduction(options.reduceOp) == c10d::ReduceOp::SUM, "reduce-scatter: SUM only");
  return run({.op = c10d::OpType::_REDUCE_SCATTER_BASE, .in = in, .out = out});
}

CallBackend::Work CallBackend::alltoall_base(at::Tensor& out, at::Tensor& in, std::vector<std::int64_t>& from,
                                             std::vector<std::int64_t>& to, const c10d::AllToAllOptions&) {
  check_pieces(in, out, 1);
  const auto ring = RingSplits::of(in.dim() == 0 ? 1 : in.size(0), getRank(), getSize());
  TORCH_CHECK(from == ring.from && to == ring.to, "alltoall_base: passing on around the ring only, to rank + 1");
  return run({.op = c10d::OpType::ALLTOALL_BASE, .in = in, .out = out});
}

CallBackend::Work CallBackend::barrier(const c10d::BarrierOptions&) {
  return run({.op = c10d::OpType::BARRIER});
}

}  // namespace triptych

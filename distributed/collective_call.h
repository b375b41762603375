// The six collectives that the program uses, as one struct: a transport implements run(CollectiveCall) and nothing
// else.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <vector>

#include "core/base/errors.h"

namespace triptych {

/// One rank's side of a collective. `in` and `out` are dense and contiguous; all-reduce and broadcast work in place
/// (the same tensor twice), a barrier has neither. All-gather: out = size x in; reduce-scatter: in = size x out, in
/// elements. ALLTOALL_BASE only passes on around the ring: in goes to rank + 1, out is the in of rank - 1, as long.
struct CollectiveCall {
  c10d::OpType op;
  c10d::ReduceOp::RedOpType reduce = c10d::ReduceOp::SUM;  ///< SUM or MAX
  int root = 0;                                            ///< of a broadcast
  at::Tensor in = {}, out = {};

  /// "ALLREDUCE (sum) of 16 Float": equal on every rank, or the ranks run different collectives.
  std::string description() const;
};

/// How alltoall_base is asked to pass on `rows` rows around the ring: all of them to the next rank, all from the one
/// before.
struct RingSplits {
  std::vector<std::int64_t> to, from;
  static RingSplits of(std::int64_t rows, int rank, int size);
};

/// The handle of a running collective, as c10d wants it.
class CollectiveWork final : public c10d::Work {
 public:
  explicit CollectiveWork(c10d::OpType op) : Work(-1, op) {}
  void succeed() { finish(); }
  void fail(std::exception_ptr error) { finish(std::move(error)); }
};

/// Runs `body`; what a transport reports as c10::Error becomes PeerError.
template <class Body>
void with_peer_errors(Body&& body) {
  try {
    body();
  } catch (const c10::Error& e) {
    throw PeerError(e.what_without_backtrace());
  }
}

/// Waits until the collective is complete, with what is waited for on the process's ProgressBoard. A transport's error
/// becomes PeerError.
void complete(c10d::Work& work);

/// Turns the virtual functions of c10d::Backend into one. Arguments are checked here (c10::Error: a mistake of the
/// caller).
class CallBackend : public c10d::Backend {
 public:
  using Backend::Backend;
  using Work = c10::intrusive_ptr<c10d::Work>;

  Work broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) override;
  Work allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) override;
  Work _allgather_base(at::Tensor& out, at::Tensor& in, const c10d::AllgatherOptions& options) override;
  Work _reduce_scatter_base(at::Tensor& out, at::Tensor& in, const c10d::ReduceScatterOptions& options) override;
  Work alltoall_base(at::Tensor& out, at::Tensor& in, std::vector<std::int64_t>& from, std::vector<std::int64_t>& to,
                     const c10d::AllToAllOptions& options) override;
  Work barrier(const c10d::BarrierOptions& options) override;

 protected:
  virtual Work run(CollectiveCall call) = 0;
};

}  // namespace triptych

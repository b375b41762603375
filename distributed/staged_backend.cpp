#include "distributed/staged_backend.h"

#include <ATen/ATen.h>

namespace triptych {
namespace {

CallBackend::Work start(c10d::Backend& inner, const CollectiveCall& call, at::Tensor& in, at::Tensor& out,
                        c10::Device device) {
  std::vector<at::Tensor> in_place{out};
  switch (call.op) {
    case c10d::OpType::ALLREDUCE:
      return inner.allreduce(in_place, {.reduceOp = call.reduce});
    case c10d::OpType::BROADCAST:
      return inner.broadcast(in_place, {.rootRank = call.root});
    case c10d::OpType::_ALLGATHER_BASE:
      return inner._allgather_base(out, in, {});
    case c10d::OpType::_REDUCE_SCATTER_BASE:
      return inner._reduce_scatter_base(out, in, {});
    case c10d::OpType::ALLTOALL_BASE: {
      auto splits = RingSplits::of(in.size(0), inner.getRank(), inner.getSize());
      return inner.alltoall_base(out, in, splits.from, splits.to, {});
    }
    default: {
      c10d::BarrierOptions options;
      options.device_ids = {device.index()};
      return inner.barrier(options);
    }
  }
}

}  // namespace

StagedBackend::StagedBackend(c10::intrusive_ptr<c10d::Backend> inner, c10::Device device)
    : CallBackend(inner->getRank(), inner->getSize()), inner_(std::move(inner)), device_(device) {}

CallBackend::Work StagedBackend::run(CollectiveCall call) {
  const at::NoGradGuard no_grad;
  const bool in_place = call.in.is_same(call.out);
  at::Tensor in, out;
  if (call.in.defined()) in = call.in.to(device_, /*non_blocking=*/false, /*copy=*/true);
  if (call.out.defined()) out = in_place ? in : at::empty_like(call.out, call.out.options().device(device_));
  start(*inner_, call, in, out, device_)->wait();
  if (out.defined()) call.out.copy_(out);
  auto work = c10::make_intrusive<CollectiveWork>(call.op);
  work->succeed();
  return work;
}

}  // namespace triptych

// Every collective is one meeting: ranks lay down what they bring, the last to arrive checks that all run the same
// collective, does the work for everybody and wakes them.
#include "distributed/thread_backend.h"

#include <ATen/ATen.h>

#include <condition_variable>
#include <mutex>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <vector>

#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "distributed/collective_call.h"

namespace triptych {
namespace {

/// Reduces in rank order; narrow floats are added in fp32 and rounded once.
at::Tensor reduced(const std::vector<at::Tensor>& by_rank, c10d::ReduceOp::RedOpType kind) {
  const auto dtype = by_rank[0].scalar_type();
  const auto wide = at::isReducedFloatingType(dtype) ? at::kFloat : dtype;
  at::Tensor result = by_rank[0].to(wide, /*non_blocking=*/false, /*copy=*/true);
  for (std::size_t r = 1; r < by_rank.size(); ++r) {
    const auto next = by_rank[r].to(wide);
    if (kind == c10d::ReduceOp::MAX) {
      at::maximum_out(result, result, next);
    } else {
      result.add_(next);
    }
  }
  return result.to(dtype);
}

/// Does the work of one collective for all ranks; calls[r] is rank r's side.
void perform(const std::vector<const CollectiveCall*>& calls) {
  const at::NoGradGuard no_grad;
  const auto size = static_cast<std::int64_t>(calls.size());
  std::vector<at::Tensor> in, out;
  for (const auto* call : calls) {
    in.push_back(call->in);
    out.push_back(call->out);
  }
  switch (calls[0]->op) {
    case c10d::OpType::ALLREDUCE: {
      const auto result = reduced(in, calls[0]->reduce);
      for (auto& mine : out) mine.copy_(result);
      break;
    }
    case c10d::OpType::BROADCAST:
      for (auto& mine : out) mine.copy_(in[calls[0]->root]);
      break;
    case c10d::OpType::_ALLGATHER_BASE:
      for (auto& mine : out) {
        const auto rows = mine.view({size, in[0].numel()});
        for (std::int64_t r = 0; r < size; ++r) rows[r].copy_(in[r].view({-1}));
      }
      break;
    case c10d::OpType::_REDUCE_SCATTER_BASE: {
      const auto rows = reduced(in, c10d::ReduceOp::SUM).view({size, out[0].numel()});
      for (std::int64_t r = 0; r < size; ++r) out[r].view({-1}).copy_(rows[r]);
      break;
    }
    case c10d::OpType::ALLTOALL_BASE:
      for (std::size_t r = 0; r < in.size(); ++r) out[(r + 1) % out.size()].copy_(in[r]);
      break;
    default:  // barrier: having met is all
      break;
  }
}

class MeetingPoint {
 public:
  MeetingPoint(int size, std::chrono::milliseconds timeout) : timeout_(timeout), calls_(size) {}

  /// Returns when the collective is done.
  void meet(int rank, const CollectiveCall& mine) {
    std::unique_lock lock(mutex_);
    if (!broken_.empty()) throw PeerError(broken_);
    calls_[rank] = &mine;
    const auto round = round_;
    if (++arrived_ == calls_.size()) {
      conduct();
    } else if (!changed_.wait_for(lock, timeout_, [&] { return round_ != round || !broken_.empty(); })) {
      give_up(mine.description() + " timed out after " + std::to_string(timeout_.count()) + " ms: " + absent());
    }
    if (round_ == round) throw PeerError(broken_);
  }

  void break_off(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    give_up(reason);
  }

 private:
  void give_up(const std::string& reason) {
    if (broken_.empty()) broken_ = reason;
    changed_.notify_all();
  }

  std::string absent() const {
    std::string text;
    for (std::size_t r = 0; r < calls_.size(); ++r) {
      if (!calls_[r]) text += (text.empty() ? "rank " : ", rank ") + std::to_string(r);
    }
    return text + " did not come";
  }

  void conduct() {
    for (std::size_t r = 1; r < calls_.size(); ++r) {
      if (calls_[r]->description() != calls_[0]->description()) {
        return give_up("the ranks run different collectives: rank 0 " + calls_[0]->description() + ", rank " +
                       std::to_string(r) + " " + calls_[r]->description());
      }
    }
    try {
      perform(calls_);
    } catch (const c10::Error& e) {
      return give_up(calls_[0]->description() + " failed: " + e.what_without_backtrace());
    }
    std::fill(calls_.begin(), calls_.end(), nullptr);
    arrived_ = 0;
    ++round_;
    changed_.notify_all();
  }

  const std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<const CollectiveCall*> calls_;  // by rank; null = not here yet
  std::size_t arrived_ = 0;
  std::uint64_t round_ = 0;
  std::string broken_;  // why nothing works any more
};

class ThreadBackend final : public CallBackend {
 public:
  ThreadBackend(int rank, int size, std::shared_ptr<MeetingPoint> meeting)
      : CallBackend(rank, size), meeting_(std::move(meeting)) {}
  const std::string getBackendName() const override { return "triptych_threads"; }

 protected:
  Work run(CollectiveCall call) override {
    const bool reduces = call.op == c10d::OpType::ALLREDUCE;
    if (reduces) fault_point(FaultPoint::kAllReduceEnter);
    meeting_->meet(getRank(), call);
    if (reduces) fault_point(FaultPoint::kAllReduceExit);
    auto work = c10::make_intrusive<CollectiveWork>(call.op);
    work->succeed();
    return work;
  }

 private:
  std::shared_ptr<MeetingPoint> meeting_;
};

}  // namespace

struct ThreadGroup::Impl {
  std::shared_ptr<MeetingPoint> meeting;
  std::vector<std::unique_ptr<Collectives>> comms;
};

ThreadGroup::ThreadGroup(int size, std::chrono::milliseconds timeout) : impl_(std::make_unique<Impl>()) {
  TORCH_CHECK(size >= 1, "a group needs at least one rank, got ", size);
  impl_->meeting = std::make_shared<MeetingPoint>(size, timeout);
  for (int r = 0; r < size; ++r) {
    auto group = c10::make_intrusive<c10d::ProcessGroup>(r, size);
    const auto backend = c10::make_intrusive<ThreadBackend>(r, size, impl_->meeting);
    for (const auto device : {at::kCPU, at::kCUDA}) {
      group->setBackend(device, c10d::ProcessGroup::BackendType::CUSTOM, backend);
    }
    group->setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
    impl_->comms.push_back(std::make_unique<Collectives>(std::move(group)));
  }
}
ThreadGroup::~ThreadGroup() = default;

Collectives& ThreadGroup::comm(int rank) {
  return *impl_->comms.at(rank);
}
void ThreadGroup::break_off(const std::string& reason) {
  impl_->meeting->break_off(reason);
}

}  // namespace triptych

// The progress thread and its queue; what one collective does over MPI is in mpi_transport.cpp.
#include "distributed/mpi_backend.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <mpi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "distributed/launcher/thread_stack.h"
#include "distributed/mpi_transport.h"

namespace triptych {
namespace {

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

int world_size() {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

struct Job {
  CollectiveCall call;
  c10::intrusive_ptr<CollectiveWork> work;
};

}  // namespace

struct MpiBackend::Impl {
  explicit Impl(const MpiOptions& options_) : options(options_), transport(options.chunk_bytes) {
    progress = std::thread([this] { serve(); });
  }

  void serve();
  void run(Job& job);

  const MpiOptions options;
  MpiTransport transport;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job> queue;
  bool stop = false;
  std::atomic<bool> broken{false};
  std::string broken_by;    // of the progress thread
  std::int64_t number = 0;  // of the progress thread: collectives so far
  std::thread progress;
};

void MpiBackend::Impl::serve() {
  const WatchedThread watched("collectives");
  at::init_num_threads();  // the number of OpenMP threads is a property of the thread
  for (;;) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return stop || !queue.empty(); });
    if (queue.empty()) return;
    Job job = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    run(job);
  }
}

void MpiBackend::Impl::run(Job& job) {
  ++number;
  try {
    if (broken) throw PeerError("no collective is possible after an earlier failure: " + broken_by);
    const auto deadline = std::chrono::steady_clock::now() + options.timeout;
    const bool reduces = job.call.op == c10d::OpType::ALLREDUCE;
    if (reduces) fault_point(FaultPoint::kAllReduceEnter);
    if (options.compare_calls) transport.compare(job.call, number, deadline);
    transport.perform(job.call, deadline);
    if (reduces) fault_point(FaultPoint::kAllReduceExit);
    job.work->succeed();
  } catch (const std::exception& e) {
    const auto text = "rank " + std::to_string(transport.rank()) + " of " + std::to_string(transport.size()) + ", " +
                      job.call.description() + " (collective no. " + std::to_string(number) + ", timeout " +
                      std::to_string(options.timeout.count()) + " ms): " + e.what();
    if (!broken.exchange(true)) broken_by = text;
    job.work->fail(std::make_exception_ptr(PeerError(text)));
  }
}

MpiBackend::MpiBackend(const MpiOptions& options)
    : CallBackend(world_rank(), world_size()), impl_(std::make_unique<Impl>(options)) {}

MpiBackend::~MpiBackend() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->changed.notify_all();
  impl_->progress.join();  // after what is queued; the timeout bounds it
  if (!impl_->broken) impl_->transport.free();
}

bool MpiBackend::broken() const {
  return impl_->broken;
}

CallBackend::Work MpiBackend::run(CollectiveCall call) {
  for (const auto& tensor : {call.in, call.out}) {
    TORCH_CHECK(!tensor.defined() || tensor.is_cpu(), "MpiBackend: CPU tensors only, got one on ", tensor.device());
  }
  MpiTransport::check_dtype(call);
  auto work = c10::make_intrusive<CollectiveWork>(call.op);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->queue.push_back({std::move(call), work});
  }
  impl_->changed.notify_one();
  return work;
}

}  // namespace triptych

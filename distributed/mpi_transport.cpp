#include "distributed/mpi_transport.h"

#include <ATen/ATen.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <functional>
#include <thread>

#include "core/base/errors.h"

namespace triptych {
namespace {

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw PeerError(std::string(what) + ": " + std::string(text.data(), length) +
                  " (a rank is gone, or the ranks run different collectives)");
}

MPI_Datatype number_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kLong:
      return MPI_INT64_T;
    case at::kInt:
      return MPI_INT32_T;
    case at::kByte:
      return MPI_UINT8_T;
    default:
      TORCH_CHECK(false, "reductions over MPI: fp64, fp32, bf16, fp16, int64, int32, uint8; not ", dtype);
  }
}

char* bytes(const at::Tensor& tensor, std::int64_t first_element = 0) {
  return static_cast<char*>(tensor.data_ptr()) + first_element * tensor.element_size();
}

/// Calls body(first, count) for pieces of at most `step` out of `total`.
template <class Body>
void in_chunks(std::int64_t total, std::int64_t step, Body&& body) {
  for (std::int64_t first = 0; first < total; first += step) body(first, std::min(step, total - first));
}

/// out[i] = sum over s of in[s][i] in rank order, in fp32, rounded once.
template <class Narrow>
void add_rows(const at::Tensor& in, const at::Tensor& out) {
  const auto* rows = in.data_ptr<Narrow>();
  auto* sums = out.data_ptr<Narrow>();
  const std::int64_t size = in.size(0), n = in.size(1);
  std::array<float, 2048> partial{};  // stays in the first-level cache
  in_chunks(n, static_cast<std::int64_t>(partial.size()), [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) partial[i] = rows[first + i];
    for (std::int64_t s = 1; s < size; ++s) {
      for (std::int64_t i = 0; i < count; ++i) partial[i] += static_cast<float>(rows[s * n + first + i]);
    }
    for (std::int64_t i = 0; i < count; ++i) sums[first + i] = partial[i];
  });
}

}  // namespace

struct MpiTransport::Communicator {
  MPI_Comm handle = MPI_COMM_NULL;
};

MpiTransport::MpiTransport(std::int64_t chunk_bytes)
    : communicator_(std::make_shared<Communicator>()), chunk_bytes_(chunk_bytes) {
  auto& comm = communicator_->handle;
  // An error found while a non-blocking collective progresses is raised on MPI_COMM_WORLD, not on its communicator.
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(comm, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm, &size_), "MPI_Comm_size");
}

void MpiTransport::check_dtype(const CollectiveCall& call) {
  const bool reduces = call.op == c10d::OpType::ALLREDUCE || call.op == c10d::OpType::_REDUCE_SCATTER_BASE;
  if (reduces && !at::isReducedFloatingType(call.in.scalar_type())) number_type(call.in.scalar_type());
}

void MpiTransport::free() {
  MPI_Comm_free(&communicator_->handle);
}

std::int64_t MpiTransport::chunk_elements(const at::Tensor& tensor) const {
  return std::max<std::int64_t>(1, chunk_bytes_ / static_cast<std::int64_t>(tensor.element_size()));
}

/// Starts one non-blocking call and waits for it: spins briefly, then yields, then sleeps in growing naps, because
/// another thread of this rank, or another rank on this core, has work to do.
template <class Start>
void MpiTransport::complete(const char* what, Start&& start) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(start(communicator_->handle, &request), what);
  constexpr int kSpins = 200, kYields = 2000;
  constexpr std::chrono::microseconds kShortest(5), kLongest(100);
  auto nap = kShortest;
  for (int tries = 0;; ++tries) {
    int done = 0;
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
    if (done) return;
    if (tries < kSpins) continue;
    if (tries < kYields) {
      std::this_thread::yield();
      continue;
    }
    if (std::chrono::steady_clock::now() > deadline_) {
      throw PeerError("no answer in time (train.timeout_s): a rank is gone, hangs, or runs other collectives");
    }
    std::this_thread::sleep_for(nap);
    nap = std::min(kLongest, nap + kShortest);
  }
}

void MpiTransport::compare(const CollectiveCall& call, std::int64_t number, Deadline deadline) {
  deadline_ = deadline;
  const auto description = call.description() + ", its collective no. " + std::to_string(number);
  const auto hash = static_cast<std::int64_t>(std::hash<std::string>()(description) >> 1);
  // Equal everywhere exactly if max(x) = -max(-x).
  const std::array<std::int64_t, 2> mine{hash, -hash};
  std::array<std::int64_t, 2> most{};
  complete("comparison of collectives", [&](MPI_Comm comm, MPI_Request* request) {
    return MPI_Iallreduce(mine.data(), most.data(), 2, MPI_INT64_T, MPI_MAX, comm, request);
  });
  if (most[0] == -most[1]) return;

  constexpr int kLength = 128;
  std::array<char, kLength> text{};
  description.copy(text.data(), kLength - 1);
  std::vector<char> texts(static_cast<std::size_t>(kLength) * size_);
  complete("comparison of collectives", [&](MPI_Comm comm, MPI_Request* request) {
    return MPI_Iallgather(text.data(), kLength, MPI_CHAR, texts.data(), kLength, MPI_CHAR, comm, request);
  });
  for (int r = 1; r < size_; ++r) {
    const std::string first = texts.data(), other = texts.data() + static_cast<std::ptrdiff_t>(r) * kLength;
    if (first != other) {
      throw PeerError("the ranks run different collectives: rank 0 " + first + "; rank " + std::to_string(r) + " " +
                      other);
    }
  }
}

void MpiTransport::perform(const CollectiveCall& call, Deadline deadline) {
  const at::NoGradGuard no_grad;
  deadline_ = deadline;
  switch (call.op) {
    case c10d::OpType::ALLREDUCE:
      return all_reduce(call);
    case c10d::OpType::BROADCAST:
      return broadcast(call);
    case c10d::OpType::_ALLGATHER_BASE:
      return all_gather(call);
    case c10d::OpType::_REDUCE_SCATTER_BASE:
      return reduce_scatter(call);
    case c10d::OpType::ALLTOALL_BASE:
      return pass_on(call);
    default:
      return complete("barrier", [](MPI_Comm comm, MPI_Request* request) { return MPI_Ibarrier(comm, request); });
  }
}

void MpiTransport::all_reduce(const CollectiveCall& call) {
  const auto flat = call.out.view({-1});
  const bool narrow = at::isReducedFloatingType(flat.scalar_type());
  if (narrow && call.reduce == c10d::ReduceOp::SUM) {
    return in_chunks(flat.numel(), chunk_elements(flat),
                     [&](std::int64_t first, std::int64_t count) { all_reduce_narrow(flat.narrow(0, first, count)); });
  }
  const auto wide = narrow ? flat.to(at::kFloat) : flat;  // a maximum is exact in fp32
  const auto op = call.reduce == c10d::ReduceOp::MAX ? MPI_MAX : MPI_SUM;
  in_chunks(wide.numel(), chunk_elements(wide), [&](std::int64_t first, std::int64_t count) {
    complete("all-reduce", [&](MPI_Comm comm, MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, bytes(wide, first), static_cast<int>(count), number_type(wide.scalar_type()),
                            op, comm, request);
    });
  });
  if (narrow) flat.copy_(wide);
}

/// Every rank sums one block of all ranks' rows, then the blocks are gathered: the sum does not depend on MPI's order.
void MpiTransport::all_reduce_narrow(const at::Tensor& flat) {
  const std::int64_t block = (flat.numel() + size_ - 1) / size_;
  auto padded = at::zeros({block * size_}, flat.options());
  padded.narrow(0, 0, flat.numel()).copy_(flat);
  const auto mine = at::empty({block}, flat.options());
  sum_blocks_narrow(padded, mine);
  const auto length = static_cast<int>(block * flat.element_size());
  complete("all-reduce", [&](MPI_Comm comm, MPI_Request* request) {
    return MPI_Iallgather(bytes(mine), length, MPI_BYTE, bytes(padded), length, MPI_BYTE, comm, request);
  });
  flat.copy_(padded.narrow(0, 0, flat.numel()));
}

/// out [n] = sum over ranks of their in [size, n] at this rank's row.
void MpiTransport::sum_blocks_narrow(const at::Tensor& in, const at::Tensor& out) {
  const auto rows = at::empty({size_, out.numel()}, in.options());
  const auto length = static_cast<int>(out.numel() * in.element_size());
  complete("sum of narrow floats", [&](MPI_Comm comm, MPI_Request* request) {
    return MPI_Ialltoall(bytes(in), length, MPI_BYTE, bytes(rows), length, MPI_BYTE, comm, request);
  });
  in.scalar_type() == at::kBFloat16 ? add_rows<c10::BFloat16>(rows, out) : add_rows<c10::Half>(rows, out);
}

void MpiTransport::reduce_scatter(const CollectiveCall& call) {
  const auto out = call.out.view({-1});
  const auto rows = call.in.view({size_, out.numel()});
  const bool narrow = at::isReducedFloatingType(out.scalar_type());
  const auto step = std::max<std::int64_t>(1, chunk_elements(out) / size_);
  in_chunks(out.numel(), step, [&](std::int64_t first, std::int64_t count) {
    const auto in = rows.narrow(1, first, count).contiguous();
    if (narrow) return sum_blocks_narrow(in, out.narrow(0, first, count));
    complete("reduce-scatter", [&](MPI_Comm comm, MPI_Request* request) {
      return MPI_Ireduce_scatter_block(bytes(in), bytes(out, first), static_cast<int>(count),
                                       number_type(out.scalar_type()), MPI_SUM, comm, request);
    });
  });
}

void MpiTransport::all_gather(const CollectiveCall& call) {
  const auto in = call.in.view({-1});
  const auto rows = call.out.view({size_, in.numel()});
  in_chunks(in.numel(), chunk_elements(in), [&](std::int64_t first, std::int64_t count) {
    const bool whole = count == in.numel();
    const auto target = whole ? rows : at::empty({size_, count}, in.options());
    const auto length = static_cast<int>(count * in.element_size());
    complete("all-gather", [&](MPI_Comm comm, MPI_Request* request) {
      return MPI_Iallgather(bytes(in, first), length, MPI_BYTE, bytes(target), length, MPI_BYTE, comm, request);
    });
    if (!whole) rows.narrow(1, first, count).copy_(target);
  });
}

/// One message to the next rank, one from the rank before. The communicator carries no other messages.
void MpiTransport::pass_on(const CollectiveCall& call) {
  constexpr int kTag = 0;
  const auto in = call.in.view({-1}), out = call.out.view({-1});
  const int next = (rank_ + 1) % size_, before = (rank_ + size_ - 1) % size_;
  in_chunks(in.numel(), chunk_elements(in), [&](std::int64_t first, std::int64_t count) {
    const auto length = static_cast<int>(count * in.element_size());
    MPI_Request incoming = MPI_REQUEST_NULL;
    check(MPI_Irecv(bytes(out, first), length, MPI_BYTE, before, kTag, communicator_->handle, &incoming), "pass on");
    complete("pass on", [&](MPI_Comm comm, MPI_Request* request) {
      return MPI_Isend(bytes(in, first), length, MPI_BYTE, next, kTag, comm, request);
    });
    complete("pass on", [&](MPI_Comm, MPI_Request* request) {
      *request = incoming;
      return MPI_SUCCESS;
    });
  });
}

void MpiTransport::broadcast(const CollectiveCall& call) {
  const auto flat = call.out.view({-1});
  in_chunks(flat.numel(), chunk_elements(flat), [&](std::int64_t first, std::int64_t count) {
    complete("broadcast", [&](MPI_Comm comm, MPI_Request* request) {
      return MPI_Ibcast(bytes(flat, first), static_cast<int>(count * flat.element_size()), MPI_BYTE, call.root, comm,
                        request);
    });
  });
}

}  // namespace triptych

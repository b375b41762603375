// One collective over MPI, from start to end, with a deadline: what the progress thread of MpiBackend calls. Only
// mpi_backend.cpp includes this header.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "distributed/collective_call.h"

namespace triptych {

class MpiTransport {
 public:
  /// Over a copy of MPI_COMM_WORLD: collective.
  explicit MpiTransport(std::int64_t chunk_bytes);
  /// Collective as well; not to be called after a failure.
  void free();
  int rank() const { return rank_; }
  int size() const { return size_; }

  /// c10::Error when MPI cannot reduce the dtype.
  static void check_dtype(const CollectiveCall& call);
  using Deadline = std::chrono::steady_clock::time_point;
  /// Throws PeerError when the ranks do not all run `call`. `number` counts the collectives of this rank.
  void compare(const CollectiveCall& call, std::int64_t number, Deadline deadline);
  void perform(const CollectiveCall& call, Deadline deadline);

 private:
  void all_reduce(const CollectiveCall& call);
  void all_reduce_narrow(const at::Tensor& flat);
  void sum_blocks_narrow(const at::Tensor& in, const at::Tensor& out);
  void reduce_scatter(const CollectiveCall& call);
  void all_gather(const CollectiveCall& call);
  void broadcast(const CollectiveCall& call);
  void pass_on(const CollectiveCall& call);
  template <class Start>
  void complete(const char* what, Start&& start);
  std::int64_t chunk_elements(const at::Tensor& tensor) const;

  struct Communicator;
  std::shared_ptr<Communicator> communicator_;
  int rank_ = 0, size_ = 1;
  std::int64_t chunk_bytes_;
  Deadline deadline_;
};

}  // namespace triptych

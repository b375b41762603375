// c10d over MPI, for CPU tensors. PyTorch's wheels bring no CPU transport that a C++ program could use.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>

#include "distributed/collective_call.h"

namespace triptych {

struct MpiOptions {
  /// Of one collective. After a timeout every further collective fails at once: MPI cannot take back a pending one.
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  /// Compare the collectives that the ranks run before each of them: an error with both descriptions instead of a hang
  /// or of mixed data, for one 16-byte all-reduce.
  bool compare_calls = true;
  /// Longest message; MPI counts in int, and its temporary buffers are as large as a message.
  std::int64_t chunk_bytes = std::int64_t{1} << 30;
};

/// One progress thread runs all collectives in the order of submission with non-blocking MPI calls, so that reductions
/// run while backward goes on, waiting has a timeout, and an idle rank gives up its core. Types: fp64, fp32, int64,
/// int32, uint8; bf16 and fp16 are added in fp32 in rank order and rounded once. Failures arrive as PeerError.
class MpiBackend final : public CallBackend {
 public:
  /// Over a copy of MPI_COMM_WORLD: collective. MPI must be initialised with MPI_THREAD_MULTIPLE.
  explicit MpiBackend(const MpiOptions& options);
  ~MpiBackend() override;
  const std::string getBackendName() const override { return "triptych_mpi"; }
  /// True after a failure: MPI can then not be left in good order any more.
  bool broken() const;

 protected:
  Work run(CollectiveCall call) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych

// What a rank may ask of its peers: a thin, blocking layer over c10d::ProcessGroup. Every call is collective: same
// calls, same order, on every rank.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <cstdint>
#include <string>
#include <vector>

namespace c10d {
class ProcessGroup;
}

namespace triptych {

/// Counts are in elements. When a call returns, its result may be used (on GPU: on the current stream).
/// Throws PeerError when a rank is gone, does not answer in time, or runs a different collective.
class Collectives {
 public:
  /// `group` carries CPU tensors (MpiBackend or ThreadBackend) and, on GPUs, device tensors (NCCL).
  explicit Collectives(c10::intrusive_ptr<c10d::ProcessGroup> group);
  ~Collectives();
  Collectives(const Collectives&) = delete;
  Collectives& operator=(const Collectives&) = delete;

  int rank() const;
  int size() const;
  void broadcast(at::Tensor& inout, int root);
  void all_reduce_sum(at::Tensor& inout);
  void all_reduce_max(at::Tensor& inout);
  at::Tensor all_gather(const at::Tensor& local);         ///< [b, ...] -> [size*b, ...] in rank order
  at::Tensor reduce_scatter_sum(const at::Tensor& full);  ///< [size*b, ...] -> [b, ...]
  /// Ring: this tensor goes to rank + 1 (the last rank's to rank 0), what comes back is that of rank - 1.
  at::Tensor pass_on(const at::Tensor& local);
  void barrier();

  // The same for decisions and texts of the host; always over the CPU transport.
  double sum(double value);
  std::int64_t sum(std::int64_t value);
  std::int64_t max(std::int64_t value);
  std::vector<std::string> all_gather_text(const std::string& local);  ///< one per rank; lengths may differ
  std::string broadcast_text(const std::string& text, int root);

  const c10::intrusive_ptr<c10d::ProcessGroup>& group() const { return group_; }

 private:
  c10::intrusive_ptr<c10d::ProcessGroup> group_;
};

}  // namespace triptych

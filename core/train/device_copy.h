// Rows on their way to a GPU.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <optional>
#include <vector>

#include "core/types/batch.h"

namespace triptych {

/// Copies the rows of the next step by a stream of their own, from pinned memory, while the present step's rows are in
/// use and its kernels run: two sets of rows at a time. On processors nothing is copied.
class DeviceCopy {
 public:
  explicit DeviceCopy(at::Device device);
  /// Replaces all that a step computes on by copies, which are still on their way.
  void start(std::vector<Batch>& batches);
  /// Before the copies are used: the current stream waits for them.
  void finish(const std::vector<Batch>& batches);

 private:
  at::Device device_;
  std::optional<c10::Stream> stream_;
  std::optional<c10::Event> copied_;
  std::vector<at::Tensor> pinned_;  ///< until the next copies begin: these are then made
};

}  // namespace triptych

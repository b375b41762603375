// A ring buffer of embedding pairs of earlier steps (MoCo's queue), the same on every rank by construction.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/module/state.h"

namespace triptych {

class EmbeddingQueue {
 public:
  /// `size` random unit rows of each side, drawn from `seed`: negatives of the first steps. They have no label.
  EmbeddingQueue(std::int64_t size, std::int64_t embed_dim, std::uint64_t seed, at::TensorOptions options);
  const at::Tensor& image() const { return image_kd_; }   ///< [size, d]
  const at::Tensor& text() const { return text_kd_; }     ///< [size, d]
  const at::Tensor& labels() const { return labels_k_; }  ///< int64 [size], kNoLabel where a row has none
  std::int64_t next() const { return next_; }             ///< the row that is replaced next
  /// Rows of all ranks in rank order, [n <= size, d] and int64 [n], replace the oldest. Every rank gives the same rows.
  void push(const at::Tensor& image_nd, const at::Tensor& text_nd, const at::Tensor& labels_n);
  void visit_state(StateVisitor& visitor);

 private:
  at::Tensor image_kd_, text_kd_, labels_k_;
  std::int64_t next_ = 0;
};

}  // namespace triptych

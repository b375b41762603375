// Rows wrap around; a batch need not divide the size.
#include "core/objective/embedding_queue.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/fault_plan.h"
#include "core/base/random_key.h"
#include "core/module/keyed_random.h"
#include "core/objective/embedding.h"

namespace triptych {
namespace {

at::Tensor unit_noise(std::int64_t size, std::int64_t d, std::uint64_t key, const at::TensorOptions& options) {
  if (options.device().is_meta()) return at::empty({size, d}, options);
  const at::Tensor rows = at::empty({size, d}, at::kFloat);
  at::Tensor(rows).normal_(0, 1, keyed_generator(key, at::kCPU));
  return unit_rows(rows, options.dtype().toScalarType()).to(options.device());
}

}  // namespace

EmbeddingQueue::EmbeddingQueue(std::int64_t size, std::int64_t embed_dim, std::uint64_t seed, at::TensorOptions options)
    : image_kd_(unit_noise(size, embed_dim, random_key(seed, Purpose::kQueue, {0}), options)),
      text_kd_(unit_noise(size, embed_dim, random_key(seed, Purpose::kQueue, {1}), options)),
      labels_k_(at::full({size}, kNoLabel, options.dtype(at::kLong))) {}

void EmbeddingQueue::push(const at::Tensor& image_nd, const at::Tensor& text_nd, const at::Tensor& labels_n) {
  fault_point(FaultPoint::kQueue);
  const c10::NoGradGuard no_grad;
  const std::int64_t n = image_nd.size(0), size = labels_k_.size(0);
  TORCH_CHECK(n <= size && text_nd.size(0) == n && labels_n.size(0) == n, "a queue of ", size, " cannot take ",
              image_nd.sizes(), " and ", text_nd.sizes(), " rows with ", labels_n.sizes(), " labels");
  const at::Tensor places = at::arange(next_, next_ + n, labels_k_.options()).remainder(size);
  image_kd_.index_copy_(0, places, image_nd.detach().to(image_kd_.scalar_type()));
  text_kd_.index_copy_(0, places, text_nd.detach().to(text_kd_.scalar_type()));
  labels_k_.index_copy_(0, places, labels_n.to(labels_k_.device()));
  next_ = (next_ + n) % size;
}

void EmbeddingQueue::visit_state(StateVisitor& visitor) {
  visitor.tensor("queue.image", image_kd_);
  visitor.tensor("queue.text", text_kd_);
  visitor.tensor("queue.labels", labels_k_);
  visitor.integer("queue.next", next_);
}

}  // namespace triptych

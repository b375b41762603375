#include "distributed/collectives.h"

#include <ATen/ATen.h>

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "distributed/collective_call.h"

namespace triptych {
namespace {

template <class Start>
void run(Start&& start) {
  const at::NoGradGuard no_grad;
  c10::intrusive_ptr<c10d::Work> work;
  with_peer_errors([&] { work = start(); });
  complete(*work);
}

/// In-place collectives work on a dense copy where `inout` has gaps. Bits of bool are reduced as bytes.
template <class Start>
void complete_in_place(at::Tensor& inout, Start&& start) {
  const at::NoGradGuard no_grad;
  const auto target = inout.detach();
  std::vector<at::Tensor> dense{target.contiguous()};
  const bool copied = !dense[0].is_alias_of(target);
  if (dense[0].scalar_type() == at::kBool) dense[0] = dense[0].view(at::kByte);
  run([&] { return start(dense); });
  if (copied) target.copy_(dense[0]);
}

/// A scalar counts as one row.
at::Tensor as_rows(const at::Tensor& tensor) {
  const auto dense = tensor.detach().contiguous();
  return dense.dim() == 0 ? dense.view({1}) : dense;
}

at::Tensor with_rows(const at::Tensor& like, std::int64_t rows) {
  auto sizes = like.sizes().vec();
  sizes[0] = rows;
  return at::empty(sizes, like.options());
}

at::Tensor bytes_of(const std::string& text, std::int64_t length) {
  auto bytes = at::zeros({length}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<std::uint8_t>());
  return bytes;
}

std::string text_of(const at::Tensor& bytes, std::int64_t length) {
  return {reinterpret_cast<const char*>(bytes.data_ptr<std::uint8_t>()), static_cast<std::size_t>(length)};
}

}  // namespace

Collectives::Collectives(c10::intrusive_ptr<c10d::ProcessGroup> group) : group_(std::move(group)) {}
Collectives::~Collectives() = default;

int Collectives::rank() const {
  return group_->getRank();
}
int Collectives::size() const {
  return group_->getSize();
}

void Collectives::broadcast(at::Tensor& inout, int root) {
  complete_in_place(inout, [&](auto& dense) { return group_->broadcast(dense, {.rootRank = root}); });
}

void Collectives::all_reduce_sum(at::Tensor& inout) {
  TORCH_CHECK(inout.scalar_type() != at::kBool, "all_reduce_sum: bool has no sum; convert to int64 to count");
  complete_in_place(inout, [&](auto& dense) { return group_->allreduce(dense); });
}

void Collectives::all_reduce_max(at::Tensor& inout) {
  complete_in_place(inout, [&](auto& dense) { return group_->allreduce(dense, {.reduceOp = c10d::ReduceOp::MAX}); });
}

at::Tensor Collectives::all_gather(const at::Tensor& local) {
  const at::NoGradGuard no_grad;
  auto in = as_rows(local);
  auto out = with_rows(in, in.size(0) * size());
  run([&] { return group_->_allgather_base(out, in); });
  return out;
}

at::Tensor Collectives::reduce_scatter_sum(const at::Tensor& full) {
  const at::NoGradGuard no_grad;
  auto in = as_rows(full);
  TORCH_CHECK(in.size(0) % size() == 0, "reduce_scatter_sum: ", in.size(0), " rows do not divide among ", size(),
              " ranks");
  auto out = with_rows(in, in.size(0) / size());
  run([&] { return group_->_reduce_scatter_base(out, in); });
  return out;
}

at::Tensor Collectives::pass_on(const at::Tensor& local) {
  const at::NoGradGuard no_grad;
  auto in = as_rows(local), out = at::empty_like(in);
  auto splits = RingSplits::of(in.size(0), rank(), size());
  run([&] { return group_->alltoall_base(out, in, splits.from, splits.to); });
  return out.view(local.sizes());
}

void Collectives::barrier() {
  // Not ProcessGroup::barrier(): it writes a static tensor, which ranks that are threads would do at the same time.
  run([&] { return group_->getBackend(at::kCPU)->barrier(); });
}

double Collectives::sum(double value) {
  auto scalar = at::full({1}, value, at::kDouble);
  all_reduce_sum(scalar);
  return scalar.item<double>();
}

std::int64_t Collectives::sum(std::int64_t value) {
  auto scalar = at::full({1}, value, at::kLong);
  all_reduce_sum(scalar);
  return scalar.item<std::int64_t>();
}

std::int64_t Collectives::max(std::int64_t value) {
  auto scalar = at::full({1}, value, at::kLong);
  all_reduce_max(scalar);
  return scalar.item<std::int64_t>();
}

std::vector<std::string> Collectives::all_gather_text(const std::string& local) {
  const auto lengths = all_gather(at::full({1}, static_cast<std::int64_t>(local.size()), at::kLong));
  const auto longest = lengths.max().item<std::int64_t>();
  const auto texts = all_gather(bytes_of(local, longest)).view({size(), longest});
  std::vector<std::string> by_rank;
  for (int r = 0; r < size(); ++r) by_rank.push_back(text_of(texts[r], lengths[r].item<std::int64_t>()));
  return by_rank;
}

std::string Collectives::broadcast_text(const std::string& text, int root) {
  auto length = at::full({1}, static_cast<std::int64_t>(text.size()), at::kLong);
  broadcast(length, root);
  auto bytes = bytes_of(rank() == root ? text : "", length.item<std::int64_t>());
  broadcast(bytes, root);
  return text_of(bytes, bytes.numel());
}

}  // namespace triptych

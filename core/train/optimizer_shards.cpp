// Who owns what, and how it travels: one broadcast for all tensors of an owner.
#include "core/train/optimizer_shards.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>

namespace triptych {

OptimizerShards::OptimizerShards(const std::vector<NamedTensor>& parameters, bool sharded, Collectives& comm)
    : sharded_(sharded && comm.size() > 1), comm_(comm), owners_(parameters.size(), comm.rank()) {
  if (!sharded_) return;
  const auto size = [&](std::size_t i) { return parameters[i].tensor.numel(); };
  std::vector<std::size_t> order(parameters.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return size(a) > size(b); });
  std::vector<std::int64_t> load(static_cast<std::size_t>(comm.size()));
  for (const auto i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    owners_[i] = static_cast<int>(least - load.begin());
    *least += size(i);
  }
}

void OptimizerShards::share_parameters(const std::vector<NamedTensor>& parameters) const {
  if (!sharded_) return;
  const c10::NoGradGuard no_grad;
  for (int rank = 0; rank < comm_.size(); ++rank) {
    std::vector<at::Tensor> parts;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (owners_[i] == rank) parts.push_back(parameters[i].tensor.detach());
    if (parts.empty()) continue;
    std::vector<at::Tensor> flat;
    for (const auto& part : parts) flat.push_back(part.flatten());
    at::Tensor all = at::cat(flat);
    comm_.broadcast(all, rank);
    if (rank == comm_.rank()) continue;
    std::int64_t first = 0;
    for (auto& part : parts) {
      part.copy_(all.narrow(0, first, part.numel()).view(part.sizes()));
      first += part.numel();
    }
  }
}

at::Tensor OptimizerShards::to_root(const at::Tensor& mine, std::size_t parameter, const at::Tensor& like) const {
  at::Tensor value = own(parameter) ? mine : at::empty_like(like);
  if (owner(parameter) != 0) comm_.broadcast(value, owner(parameter));
  return comm_.rank() == 0 && !own(parameter) ? value.cpu() : at::Tensor();
}

}  // namespace triptych

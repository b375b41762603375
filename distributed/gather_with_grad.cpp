#include "distributed/gather_with_grad.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace triptych {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GatherWithGrad : torch::autograd::Function<GatherWithGrad> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& local, Collectives* comm) {
    context->saved_data["comm"] = reinterpret_cast<std::int64_t>(comm);
    context->saved_data["sizes"] = local.sizes().vec();
    return comm->all_gather(local);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto* comm = reinterpret_cast<Collectives*>(context->saved_data["comm"].toInt());
    const auto sizes = context->saved_data["sizes"].toIntVector();
    return {comm->reduce_scatter_sum(gradients[0]).view(sizes), at::Tensor()};
  }
};

}  // namespace

at::Tensor all_gather_with_grad(const at::Tensor& local, Collectives& comm) {
  return GatherWithGrad::apply(local, &comm);
}

}  // namespace triptych

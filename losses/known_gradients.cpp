// One autograd function: saves the gradients, multiplies them in backward.
#include "losses/known_gradients.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace triptych {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct KnownGradients : torch::autograd::Function<KnownGradients> {
  static at::Tensor forward(AutogradContext* context, at::TensorList /*of*/, const at::Tensor& value,
                            const c10::List<at::Tensor>& gradients) {
    context->saved_data["gradients"] = gradients;
    return value.clone();
  }
  static variable_list backward(AutogradContext* context, const variable_list& incoming) {
    const auto known = context->saved_data["gradients"].toTensorVector();
    variable_list gradients;
    for (const auto& gradient : known) gradients.push_back(gradient * incoming[0]);
    gradients.resize(known.size() + 2);  // none for the value and the gradients themselves
    return gradients;
  }
};

}  // namespace

at::Tensor with_known_gradients(const at::Tensor& value, const std::vector<KnownGradient>& gradients) {
  variable_list of;
  c10::List<at::Tensor> known;
  for (const auto& gradient : gradients) {
    of.push_back(gradient.of);
    known.push_back(gradient.is);
  }
  return KnownGradients::apply(at::TensorList(of), value, known);
}

}  // namespace triptych

// One autograd node per block. Parameters are its inputs, so their gradients leave it through autograd as those of any
// other operation, and the hooks that average gradients fire once.
#include "core/module/recompute.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/module/autocast.h"

namespace triptych {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Generator copy_of(const at::Generator& draws) {
  return draws.defined() ? draws.clone() : draws;
}

/// What backward needs to run the block again.
struct Replay : torch::CustomClassHolder {
  RecomputedBlock block;
  ForwardScope scope;                           ///< with the draws as they were before the block
  std::optional<at::ScalarType> products = {};  ///< autocast's, where it was on
  std::size_t inputs = 0;                       ///< the first tensors; parameters follow
};

struct Recompute : torch::autograd::Function<Recompute> {
  static at::Tensor forward(AutogradContext* context, at::TensorList tensors, const c10::intrusive_ptr<Replay>& replay,
                            const at::Generator& draws) {
    ForwardScope scope = replay->scope;
    replay->scope.draws = copy_of(draws);
    scope.draws = draws;
    context->save_for_backward(tensors.vec());
    context->saved_data["replay"] = c10::IValue::make_capsule(replay);
    return replay->block(tensors.slice(0, replay->inputs).vec(), scope);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto holder = context->saved_data["replay"].toCapsule();
    const auto& replay = static_cast<const Replay&>(*holder);
    const auto saved = context->get_saved_variables();
    variable_list inputs, wanted;
    std::vector<std::size_t> places;
    const c10::AutoGradMode graph(true);
    for (std::size_t i = 0; i < saved.size(); ++i) {
      at::Tensor tensor = saved[i];
      if (i < replay.inputs) inputs.push_back(tensor = tensor.detach().set_requires_grad(tensor.requires_grad()));
      if (!tensor.requires_grad()) continue;
      wanted.push_back(tensor);
      places.push_back(i);
    }
    ForwardScope scope = replay.scope;
    scope.draws = copy_of(scope.draws);
    at::Tensor out;
    {
      const AutocastScope autocast(inputs[0].device(), at::kFloat, replay.products.value_or(at::kFloat));
      out = replay.block(inputs, scope);
    }
    const auto found = torch::autograd::grad({out}, wanted, {gradients[0]}, /*retain_graph=*/std::nullopt,
                                             /*create_graph=*/false, /*allow_unused=*/true);
    variable_list result(saved.size() + 2);  // the replay and the draws get none
    for (std::size_t k = 0; k < places.size(); ++k) result[places[k]] = found[k];
    return result;
  }
};

}  // namespace

at::Tensor recomputed(const Module& owner, const std::vector<at::Tensor>& inputs, const ForwardScope& scope,
                      const RecomputedBlock& block) {
  if (!scope.recompute || !c10::GradMode::is_enabled()) return block(inputs, scope);
  auto replay = c10::make_intrusive<Replay>();
  replay->block = block;
  replay->scope = scope;
  replay->scope.recompute = false;
  replay->products = autocast_type(inputs[0].device().type());
  replay->inputs = inputs.size();
  variable_list tensors = inputs;
  for (const auto& parameter : owner.parameters()) tensors.push_back(parameter.tensor);
  return Recompute::apply(at::TensorList(tensors), replay, scope.draws);
}

}  // namespace triptych

// Torch's autocast is a dispatch key that tensors of a device carry; meta tensors carry none. Here the key of a device
// that no build has is switched on for the thread, with one kernel for all operators of torch's two lists that the
// towers call: casts its arguments and goes on to the operator.
#include "core/module/meta_autocast.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <unordered_map>

namespace triptych {
namespace {

constexpr auto kKey = c10::DispatchKey::AutocastIPU;

struct State {
  std::optional<at::ScalarType> type;
  std::unordered_map<c10::TensorImpl*, std::pair<at::Tensor, at::Tensor>> weights;  ///< each beside its cast
};

State& state() {
  thread_local State state;
  return state;
}

at::DeviceType& stands_for() {
  thread_local at::DeviceType device = at::kCPU;
  return device;
}

/// As torch: casts of leaves that are trained are made once.
at::Tensor cast(const at::Tensor& x, at::ScalarType type) {
  if (!x.defined() || !x.is_floating_point() || x.scalar_type() == at::kDouble || x.scalar_type() == type) return x;
  const bool weight = type != at::kFloat && x.requires_grad() && x.is_leaf() && !x.is_view();
  if (!weight) return x.to(type);
  auto& kept = state().weights[x.unsafeGetTensorImpl()];
  if (!kept.first.defined()) kept = {x, x.to(type)};
  return kept.second;
}

void call_with_casts(const c10::OperatorHandle& op, torch::jit::Stack* stack, at::ScalarType type) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(kKey);
  const auto arguments = op.schema().arguments().size();
  for (std::size_t i = stack->size() - arguments; i < stack->size(); ++i) {
    auto& value = (*stack)[i];
    if (value.isTensor()) value = cast(value.toTensor(), type);
  }
  op.callBoxed(stack);
}

void in_products_type(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  call_with_casts(op, stack, state().type.value());
}

/// GPUs compute these in fp32; processors in the type they meet.
void in_full_on_gpus(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  if (stands_for() != at::kCPU) return call_with_casts(op, stack, at::kFloat);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(kKey);
  op.callBoxed(stack);
}

torch::Library no_fallback() {
  torch::Library library(torch::Library::IMPL, "_", kKey, __FILE__, __LINE__);
  library.fallback(torch::CppFunction::makeFallthrough());
  return library;
}

torch::Library operators() {
  torch::Library library(torch::Library::IMPL, "aten", kKey, __FILE__, __LINE__);
  for (const char* name : {"linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv2d", "convolution"})
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&in_products_type>());
  for (const char* name : {"layer_norm", "native_layer_norm", "softmax.int", "rsqrt", "exp", "pow.Tensor_Scalar",
                           "norm.ScalarOpt_dim", "sum.dim_IntList"})
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&in_full_on_gpus>());
  return library;
}

}  // namespace

MetaStandsFor::MetaStandsFor(at::DeviceType device) : before_(stands_for()) {
  stands_for() = device;
}

MetaStandsFor::~MetaStandsFor() {
  stands_for() = before_;
}

at::DeviceType MetaStandsFor::device() {
  return stands_for();
}

namespace meta_autocast {

std::optional<at::ScalarType> type() {
  return state().type;
}

std::optional<at::ScalarType> set(std::optional<at::ScalarType> type) {
  static const torch::Library fallback = no_fallback(), list = operators();
  c10::impl::tls_set_dispatch_key_included(kKey, type.has_value());
  c10::impl::tls_set_dispatch_key_excluded(kKey, !type);  // excluded unless somebody asks for it
  if (!type) state().weights.clear();
  return std::exchange(state().type, type);
}

}  // namespace meta_autocast
}  // namespace triptych

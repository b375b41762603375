// A dispatch key of a device that no build has is switched on for the thread; its kernels count and go on to the
// operator.
#include "core/module/flops_counter.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <stdexcept>

#include "core/module/convolution_size.h"

namespace triptych {
namespace {

constexpr auto kCountingKey = c10::DispatchKey::AutocastXLA;
using Inputs = c10::ArrayRef<c10::IValue>;

FlopsCounter*& current_counter() {
  thread_local FlopsCounter* counter = nullptr;
  return counter;
}

double elements(const c10::IValue& tensor) {
  return static_cast<double>(tensor.toTensor().numel());
}

/// Weight elements that one output value meets: input channels of a group times the kernel's area.
double reach(const c10::IValue& weight) {
  return elements(weight) / static_cast<double>(weight.toTensor().size(0));
}

/// left [..., k], right [..., k, n].
double product(const c10::IValue& left, const c10::IValue& right) {
  return 2 * elements(left) * static_cast<double>(right.toTensor().size(-1));
}

double mm(Inputs in) {
  return product(in[0], in[1]);
}

double addmm(Inputs in) {
  return product(in[1], in[2]);
}

/// [out, in / groups, kh, kw] over [n, in, h, w].
double convolution(Inputs in) {
  const auto &x = in[0].toTensor(), &weight = in[1].toTensor();
  const auto stride = in[3].toIntVector(), padding = in[4].toIntVector(), dilation = in[5].toIntVector();
  double outputs = static_cast<double>(x.size(0) * weight.size(0));
  for (const std::size_t dim : {0, 1})
    outputs *= static_cast<double>(convolution_size(x, weight, stride, padding, dilation, dim));
  return 2 * outputs * reach(in[1]);
}

/// The gradients of input and weight cost what the output did, each.
double convolution_backward(Inputs in) {
  const auto wanted = in[10].toBoolList();
  return 2 * elements(in[0]) * reach(in[2]) * (static_cast<int>(wanted[0]) + static_cast<int>(wanted[1]));
}

/// One product of query and key, whole: what a causal kernel may leave out is not counted.
double scores(const c10::IValue& query, const c10::IValue& key) {
  return 2 * elements(query) * static_cast<double>(key.toTensor().size(2));
}

double attention(Inputs in) {
  return 2 * scores(in[0], in[1]);
}

/// Four products, and that of query and key again.
double attention_backward(Inputs in) {
  return 5 * scores(in[1], in[2]);
}

/// Autocast's keys are excluded unless somebody asks for them.
void switch_counting(bool on) {
  c10::impl::tls_set_dispatch_key_included(kCountingKey, on);
  c10::impl::tls_set_dispatch_key_excluded(kCountingKey, !on);
}

}  // namespace

/// Kernels of the counting key.
struct CountedCalls {
  template <double (*flops)(Inputs)>
  static void call(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const auto arguments = op.schema().arguments().size();
    current_counter()->total_ += flops(Inputs(stack->data() + stack->size() - arguments, arguments));
    const c10::impl::ExcludeDispatchKeyGuard counted(kCountingKey);
    op.callBoxed(stack);
  }

  template <double (*flops)(Inputs)>
  static torch::CppFunction counting() {
    return torch::CppFunction::makeFromBoxedFunction<&call<flops>>();
  }

  static torch::Library fallback() {
    torch::Library library(torch::Library::IMPL, "_", kCountingKey, __FILE__, __LINE__);
    library.fallback(torch::CppFunction::makeFallthrough());
    return library;
  }

  static torch::Library operators() {
    torch::Library library(torch::Library::IMPL, "aten", kCountingKey, __FILE__, __LINE__);
    library.impl("mm", counting<&mm>());
    library.impl("bmm", counting<&mm>());
    library.impl("addmm", counting<&addmm>());
    library.impl("baddbmm", counting<&addmm>());
    library.impl("convolution", counting<&convolution>());
    library.impl("convolution_backward", counting<&convolution_backward>());
    library.impl("_scaled_dot_product_flash_attention_for_cpu", counting<&attention>());
    library.impl("_scaled_dot_product_flash_attention_for_cpu_backward", counting<&attention_backward>());
    return library;
  }
};

FlopsCounter::FlopsCounter() {
  static const torch::Library others = CountedCalls::fallback(), counted = CountedCalls::operators();
  if (current_counter() != nullptr) throw std::logic_error("FlopsCounter: another one counts on this thread");
  current_counter() = this;
  switch_counting(true);
}

FlopsCounter::~FlopsCounter() {
  switch_counting(false);
  current_counter() = nullptr;
}

}  // namespace triptych

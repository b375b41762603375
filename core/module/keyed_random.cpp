// Keyed generators, dropout and drop path.
#include "core/module/keyed_random.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <vector>

namespace triptych {
namespace {

at::Tensor gated(const at::Tensor& x, at::IntArrayRef gate_shape, double probability, const at::Generator& draws) {
  TORCH_CHECK(draws.defined(), "dropout with probability ", probability, " needs a keyed generator, got none");
  const double keep = 1 - probability;
  // 1 / keep in full precision: bfloat16 would be off by up to 0.4 %.
  const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor gates = at::empty(gate_shape, x.options().dtype(type).requires_grad(false));
  return (x * gates.bernoulli_(keep, draws).div_(keep)).to(x.scalar_type());
}

}  // namespace

at::Generator keyed_generator(std::uint64_t key, at::Device device) {
  if (device.is_cpu() || device.is_meta()) return at::detail::createCPUGenerator(key);
  at::Generator generator =
      at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
  generator.set_current_seed(key);
  return generator;
}

at::Tensor keyed_dropout(const at::Tensor& x, double probability, const at::Generator& draws) {
  return probability == 0 ? x : gated(x, x.sizes(), probability, draws);
}

at::Tensor drop_path(const at::Tensor& x, double probability, const at::Generator& draws) {
  if (probability == 0) return x;
  std::vector<std::int64_t> gates(static_cast<std::size_t>(x.dim()), 1);
  gates[0] = x.size(0);
  return gated(x, gates, probability, draws);
}

}  // namespace triptych

// Module: the walk over named parameters, buffers and children.
#include "core/module/module.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <stdexcept>
#include <utility>

namespace triptych {
namespace {

std::string joined(const std::string& prefix, const std::string& name) {
  if (prefix.empty() || name.empty()) return prefix + name;
  return prefix + "." + name;
}

bool& shapes_only() {
  thread_local bool on = false;
  return on;
}

at::Tensor held(const at::Tensor& initial) {
  return shapes_only() ? initial.detach().to(at::kMeta) : initial.detach();
}

}  // namespace

ShapesOnly::ShapesOnly() : before_(std::exchange(shapes_only(), true)) {}

ShapesOnly::~ShapesOnly() {
  shapes_only() = before_;
}

void Module::collect(const std::string& prefix, bool want_parameters, std::vector<NamedTensor>& into) const {
  for (const auto& [name, tensor] : want_parameters ? parameters_ : buffers_)
    into.push_back({joined(prefix, name), tensor});
  for (const auto& [name, module] : children_) module->collect(joined(prefix, name), want_parameters, into);
}

std::vector<NamedTensor> Module::parameters() const {
  std::vector<NamedTensor> all;
  collect("", true, all);
  return all;
}

std::vector<NamedTensor> Module::buffers() const {
  std::vector<NamedTensor> all;
  collect("", false, all);
  return all;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : parameters()) count += tensor.numel();
  return count;
}

void Module::to(at::Device device, at::ScalarType dtype) {
  const c10::NoGradGuard no_grad;
  const auto move = [&](const std::vector<NamedTensor>& tensors) {
    for (const auto& [name, tensor] : tensors) {
      tensor.set_data(tensor.detach().to(device, tensor.is_floating_point() ? dtype : tensor.scalar_type()));
    }
  };
  move(parameters());
  move(buffers());
  each_constant([&](const at::Tensor& value) {
    value.set_data(value.to(device, value.is_floating_point() ? dtype : value.scalar_type()));
  });
}

void Module::each_constant(const std::function<void(const at::Tensor&)>& use) const {
  for (const auto& value : constants_) use(value);
  for (const auto& [name, module] : children_) module->each_constant(use);
}

void Module::end_step(bool updated) {
  on_step_end(updated);
  for (const auto& [name, module] : children_) module->end_step(updated);
}

void Module::requires_grad(bool on) {
  for (const auto& [name, tensor] : parameters()) tensor.set_requires_grad(on);
}

void Module::set_training(bool on) {
  training_ = on;
  for (const auto& [name, module] : children_) module->set_training(on);
}

void Module::visit_state(StateVisitor& visitor, const std::string& prefix) {
  for (auto& [name, tensor] : parameters()) visitor.tensor(joined(prefix, name), tensor);
  for (auto& [name, tensor] : buffers()) visitor.tensor(joined(prefix, name), tensor);
}

void Module::check_new(const std::string& name) const {
  if (name.empty()) throw std::logic_error("Module: a parameter or buffer needs a name");
  for (const auto* list : {&parameters_, &buffers_}) {
    for (const auto& known : *list) {
      if (known.name == name) throw std::logic_error("Module: '" + name + "' is registered twice");
    }
  }
}

at::Tensor Module::parameter(std::string name, at::Tensor initial) {
  check_new(name);
  at::Tensor leaf = held(initial).set_requires_grad(true);
  parameters_.push_back({std::move(name), leaf});
  return leaf;
}

at::Tensor Module::buffer(std::string name, at::Tensor initial) {
  check_new(name);
  buffers_.push_back({std::move(name), held(initial)});
  return buffers_.back().tensor;
}

at::Tensor Module::constant(at::Tensor value) {
  constants_.push_back(held(value));
  return constants_.back();
}

void Module::child(std::string name, Module& module) {
  children_.emplace_back(std::move(name), &module);
}

}  // namespace triptych

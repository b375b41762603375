// A layer or model: named parameters, named buffers, named children. Small on purpose: a file that uses it needs ATen
// only, and compiles in 2 s where <torch/nn.h> costs 12.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/module/state.h"

namespace triptych {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// While one lives, modules made by this thread have meta tensors: they know their shapes and take no memory.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;

 private:
  bool before_;
};

/// Names are joined by dots: "visual.transformer.resblocks.0.attn.in_proj_weight". Order is the order of registration;
/// it is the order of gradient buckets and of the optimizer's state and must stay stable.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  std::vector<NamedTensor> parameters() const;  ///< depth first, own before children
  std::vector<NamedTensor> buffers() const;
  std::int64_t parameter_count() const;
  void to(at::Device device, at::ScalarType dtype);  ///< floating point tensors; in place, handles stay valid
  void requires_grad(bool on);
  void set_training(bool on);  ///< dropout and drop path act in training mode only
  bool training() const { return training_; }
  /// After each optimizer step, of this module and all below: what a forward has remembered for then (running
  /// statistics) takes effect, or is dropped where the step was refused.
  void end_step(bool updated);
  /// Parameters, then buffers, by name.
  void visit_state(StateVisitor& visitor, const std::string& prefix = "");

 protected:
  at::Tensor parameter(std::string name, at::Tensor initial);  ///< registers and returns it, requiring gradients
  at::Tensor buffer(std::string name, at::Tensor initial);
  /// Follows the module to its device and is no state: it follows from the configuration.
  at::Tensor constant(at::Tensor value);
  /// `module` is a member of the derived class: it lives as long. An empty name adds no level to its parameters' names.
  void child(std::string name, Module& module);
  virtual void on_step_end(bool /*updated*/) {}

 private:
  void collect(const std::string& prefix, bool want_parameters, std::vector<NamedTensor>& into) const;
  void check_new(const std::string& name) const;

  void each_constant(const std::function<void(const at::Tensor&)>& use) const;

  std::vector<NamedTensor> parameters_, buffers_;
  std::vector<at::Tensor> constants_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
};

}  // namespace triptych

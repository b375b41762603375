// Initial values of parameters, keyed by (seed, full name of the parameter): they depend neither on the order of
// construction nor on which other parameters exist. Always drawn in fp32 on the CPU, so that every device starts from
// the same bits.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

namespace triptych {

class Initializer {
 public:
  /// With `device` meta nothing is drawn or allocated: a module built so knows the shapes of its parameters only.
  explicit Initializer(std::uint64_t seed, std::string prefix = "", at::Device device = at::kCPU)
      : seed_(seed), prefix_(std::move(prefix)), device_(device) {}
  /// For a child: names below `name`.
  Initializer operator/(const std::string& name) const { return Initializer(seed_, full(name), device_); }

  at::Tensor normal(const std::string& name, at::IntArrayRef shape, double deviation) const;
  /// Normal, cut at `cut` deviations on both sides.
  at::Tensor truncated_normal(const std::string& name, at::IntArrayRef shape, double deviation, double cut = 2) const;
  /// Uniform in [-bound, bound).
  at::Tensor uniform(const std::string& name, at::IntArrayRef shape, double bound) const;
  /// Uniform with bound sqrt(6 / (fan_in + fan_out)) for a weight [fan_out, fan_in] (Glorot and Bengio, 2010).
  at::Tensor xavier_uniform(const std::string& name, at::IntArrayRef shape) const;

 private:
  std::string full(const std::string& name) const { return prefix_.empty() ? name : prefix_ + "." + name; }
  at::Tensor drawn(const std::string& name, at::IntArrayRef shape, at::ScalarType type,
                   const std::function<void(at::Tensor&, at::Generator)>& draw) const;

  std::uint64_t seed_;
  std::string prefix_;
  at::Device device_;
};

}  // namespace triptych
